"""Clip stores, the data set and its transforms."""

from . import transforms
from .body_hand_dataset import BodyHandDataset
from .clip import Clip, empty_hands
from .store import ClipStore, StoreWriter

__all__ = ['BodyHandDataset', 'Clip', 'ClipStore', 'StoreWriter', 'empty_hands', 'transforms']
