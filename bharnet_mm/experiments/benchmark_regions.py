"""Clips per second of CutRegions: regions cut out of the videos on the fly, against those of a
region store.

python tools/analysis/benchmark_regions.py data/sample data/sample_videos data/sample_regions

Both read the same clips in the same random order, in turn, through PyTorch's loader with as many
workers as said (0: in the training process). Only the regions are made: the rest of the pipeline is
the same for both.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset

from ..datasets import BodyHandDataset, Clip, ClipStore
from ..datasets.store.regions import RegionStore
from ..datasets.video import VideoFolder, available_readers, read_frames
from ..io.arguments import integer
from ..io.atomic import write_json
from ..io.outputs import output_file


def only_grid(results: dict) -> dict:
    """What travels from a worker: the grid and its mask."""
    return {key: torch.from_numpy(results[key]) for key in ('rgb', 'rgb_mask')}


def frame_size(videos: Path, clip: Clip) -> list[int]:
    """Width and height of a clip's video."""
    [(_, image)] = read_frames(videos / VideoFolder(videos).find(clip.video, clip.clip_id)[0], [0])
    return [image.shape[1], image.shape[0]]


def main(argv: Sequence[str] | None = None) -> dict:
    """Command line; returns the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('store', help='clip store')
    parser.add_argument('videos', help='folder of its videos')
    parser.add_argument('regions', help='region store of both')
    parser.add_argument('--clips', type=integer(1), default=200, help='read in each round (200)')
    parser.add_argument('--rounds', type=integer(1), default=3)
    parser.add_argument('--workers', type=integer(0), nargs='+', default=[0, 2], help='(0 2)')
    parser.add_argument('--out', type=output_file, help='JSON file')
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    store, regions = ClipStore(args.store), RegionStore(args.regions)
    rng = np.random.default_rng(0)
    ready = [i for i, clip_id in enumerate(store.clip_ids) if clip_id in set(regions.clip_ids)]
    numbers = np.resize(rng.permutation(ready), args.clips).tolist()
    sets = {}
    for name, source in (('videos', dict(data_root=args.videos)), ('store', dict(store=regions))):
        step = dict(type='CutRegions', random=True, **source, **regions.grid.to_dict())
        sets[name] = Subset(BodyHandDataset(store, [step, only_grid]), numbers)
    loaders = {
        # Kept from round to round: what starting workers costs is not reading.
        (name, workers): DataLoader(
            data, batch_size=16, num_workers=workers, persistent_workers=workers > 0
        )
        for workers in args.workers
        for name, data in sets.items()
    }
    rates: dict[tuple[str, int], list[float]] = {key: [] for key in loaders}
    for turn in range(args.rounds + 1):
        for key, loader in loaders.items():
            start = time.perf_counter()
            count = sum(len(batch['rgb']) for batch in loader)
            if turn:  # the first round starts the workers and fills the caches
                rates[key].append(count / (time.perf_counter() - start))
    rows = {
        'clips': args.clips,
        'frame_size': frame_size(Path(args.videos), store[ready[0]]),
        'mean_frames': round(float(np.mean([store[i].num_frames for i in ready])), 1),
        'reader': available_readers()[0],
        'processor': platform.processor() or platform.machine(),
    }
    for workers in args.workers:
        slow, fast = (float(np.median(rates[name, workers])) for name in ('videos', 'store'))
        rows[f'workers_{workers}'] = dict(
            videos_clips_per_s=round(slow, 1),
            store_clips_per_s=round(fast, 1),
            ratio=round(fast / slow, 1),
        )
        print(
            f'{workers} workers: videos {slow:8.1f} clips/s, store {fast:8.1f} clips/s, '
            f'{fast / slow:.1f} times as fast'
        )
    if args.out:
        write_json(args.out, rows)
    return rows
