"""Clip stores, the data set and its transforms."""

from ..lazy import attributes

PLACES = {
    'BodyHandDataset': '.body_hand_dataset',
    'Clip': '.clip',
    'ClipStore': '.store',
    'StoreWriter': '.store',
    'empty_hands': '.clip',
    'registration': '.registration',
    'transforms': '.transforms',
}
__getattr__, __dir__, __all__ = attributes(__name__, PLACES)
