"""Draws clips of a store: one PNG for each, bodies above, hands below.

python tools/analysis/browse.py data/sample --n 5 --out work_dirs/browse
python tools/analysis/browse.py data/sample --clip synthetic00041 --out work_dirs/browse

With --videos: frames of the video with the regions of M, above their grid.

python tools/analysis/browse.py data/sample --n 5 --videos data/sample_videos
    --out work_dirs/regions
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..apis.region_figure import save_regions
from ..apis.visualizer import save_clip
from ..datasets import ClipStore
from ..errors import ClipError, SourceError
from ..io.arguments import integer
from ..io.names import shown
from ..io.outputs import output_folder


def main(argv: Sequence[str] | None = None) -> list[Path]:
    """Command line; returns the files written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('store', help='clip store')
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument('--clip', nargs='+', help='clip ids')
    which.add_argument('--n', type=integer(1), help='this many clips, evenly spread over the store')
    parser.add_argument('--frames', type=integer(1), default=6, help='frames a clip')
    parser.add_argument('--videos', type=Path, help='folder of the videos: draw regions')
    parser.add_argument('--out', type=output_folder, required=True, help='folder for the PNG files')
    args = parser.parse_args(argv)

    store = ClipStore(args.store)
    if args.clip:
        numbers = [store.find(clip_id) for clip_id in args.clip]
    else:
        numbers = np.unique(np.linspace(0, len(store) - 1, args.n).round().astype(int))
    args.out.mkdir(parents=True, exist_ok=True)
    written = []
    for i in numbers:
        clip = store[int(i)]
        path = _free(args.out, shown(clip.clip_id).replace('/', '_'), written)
        title = f'{store.name}: {store.classes[clip.label]} ({clip.clip_id})'
        if args.videos:
            try:
                save_regions(path, clip, store.body_layout, args.videos, title=title)
            except (SourceError, ClipError) as error:
                print(f'passed over: {error}', file=sys.stderr)
                continue
            print(shown(path))
            written.append(path)
            continue
        save_clip(
            path,
            clip,
            store.body_layout,
            store.hand_layout if store.has_hands else None,
            num_frames=args.frames,
            title=title,
        )
        print(shown(path))
        written.append(path)
    if args.videos and not written:
        raise SourceError(
            f'{args.videos}',
            'that no clip could be drawn',
            'the video of at least one of them',
            'correct --videos; the lines above say what each clip lacks',
        )
    return written


def _free(folder: Path, name: str, written: Sequence[Path]) -> Path:
    """A path that no other clip of this call has: ``a/b`` and ``a_b`` would have the same."""
    path, number = folder / f'{name}.png', 2
    while path in written:
        path, number = folder / f'{name}_{number}.png', number + 1
    return path
