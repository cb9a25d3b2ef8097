"""The clip store: a folder of append-only raw files that opens quickly, whatever its size.

::

    store.json       what the store is, and how much of the files is committed
    index.bin        one fixed-size row per clip
    body.bin  body_score.bin  hand.bin  hand_score.bin  frame_index.bin  body_pixel.bin

Rows of all files follow the order of the clips, so that one offset, counted in person-frames,
finds a clip in every array (``frame_index`` has its own, counted in frames). The hand files are
absent from a store without hands, the pixels from a store without pixels.
"""

from .reader import ClipStore
from .writer import StoreWriter

__all__ = ['ClipStore', 'StoreWriter']
