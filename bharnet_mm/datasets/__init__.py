"""Clip stores, the data set and its transforms."""

from . import transforms
from .clip import Clip, empty_hands
from .store import ClipStore, StoreWriter

__all__ = ['BodyHandDataset', 'Clip', 'ClipStore', 'StoreWriter', 'empty_hands', 'transforms']


def __getattr__(name: str):
    # All else here needs numpy only; the data set needs torch and MMAction2.
    if name == 'BodyHandDataset':
        from .body_hand_dataset import BodyHandDataset

        return BodyHandDataset
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
