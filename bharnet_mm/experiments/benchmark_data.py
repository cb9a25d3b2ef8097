"""Compares the clips per second of a store with unpickling and with MMAction2's pipeline.

python tools/analysis/benchmark_data.py data/sample

All contenders read the same clips in the same random order, in turn, in one process with one
thread. `read` loads a clip's arrays into memory; `pipeline` also applies the pipeline.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import Compose

from ..datasets import BodyHandDataset, Clip, ClipStore
from ..io.arguments import integer
from ..io.atomic import write_json
from ..io.outputs import output_file


def touch(clip: Clip) -> None:
    """Reads all arrays of a clip, which are views of files until then."""
    for array in (clip.body, clip.hand, clip.body_score, clip.hand_score):
        np.array(array)


def write_pickles(store: ClipStore, numbers: np.ndarray, folder: Path) -> list[Path]:
    """One pickle for each clip, with the arrays that the store holds of it."""
    paths = []
    for i in numbers.tolist():
        clip = store[i]
        names = ('body', 'body_score', 'hand', 'hand_score')
        arrays = {name: np.array(getattr(clip, name)) for name in names}
        paths.append(folder / f'{i}.pkl')
        paths[-1].write_bytes(pickle.dumps(arrays | dict(frame_dir=clip.clip_id, label=clip.label)))
    return paths


def our_pipeline(parts: str) -> list[dict]:
    """Our pipeline: normalise, sample, rotate, pack."""
    hand = dict(
        type='NormalizeSkeleton', part='hand', space='canonical', center='frame', scale='clip'
    )
    return [
        dict(type='SelectPersons', max_persons=2),
        dict(type='NormalizeSkeleton', part='body', space='canonical', center='first'),
        *([hand] if parts == 'both' else []),
        dict(type='SampleWindow', num_frames=64, window=(0.5, 1.0)),
        dict(type='FormatBodyHand', num_persons=2),
        dict(type='PackBodyHand'),
    ]


def peer_pipeline() -> Callable[[dict], dict]:
    """MMAction2's pipeline of its graph networks."""
    import mmaction.datasets.transforms  # noqa: F401
    from mmaction.registry import TRANSFORMS

    steps = [
        dict(type='PreNormalize3D'),
        dict(type='GenSkeFeat', dataset='nturgb+d', feats=['j']),
        dict(type='UniformSampleFrames', clip_len=64),
        dict(type='PoseDecode'),
        dict(type='FormatGCNInput', num_person=2),
        dict(type='PackActionInputs'),
    ]
    return Compose([TRANSFORMS.build(step) for step in steps])


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('store', help='bodies of layout kinect_v2')
    parser.add_argument('--clips', type=integer(1), default=300)
    parser.add_argument('--rounds', type=integer(1), default=7)
    parser.add_argument('--out', type=output_file, help='JSON file')
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    np.random.seed(0)
    store = ClipStore(args.store)
    numbers = np.random.permutation(len(store))[: args.clips]
    both = BodyHandDataset(store, our_pipeline('both'))
    body = BodyHandDataset(store, our_pipeline('body'))
    peer = peer_pipeline()
    with tempfile.TemporaryDirectory() as folder:
        pickles = dict(
            zip(numbers.tolist(), write_pickles(store, numbers, Path(folder)), strict=True)
        )
        loaded = {i: pickle.loads(path.read_bytes()) for i, path in pickles.items()}

        def peer_clip(i: int, parts: str) -> None:
            clip = loaded[i]
            keypoint = clip['body'].copy()
            if parts == 'both':  # as unified graphs have them: hands are joints of their person
                hands = clip['hand'].transpose(0, 2, 1, 3, 4)
                keypoint = np.concatenate((keypoint, hands.reshape(*keypoint.shape[:2], 42, 3)), 2)
            frames = keypoint.shape[1]
            info = dict(frame_dir=clip['frame_dir'], label=clip['label'], total_frames=frames)
            peer(info | dict(keypoint=keypoint, start_index=0, modality='Pose', test_mode=False))

        contenders = {
            'read: store': lambda i: touch(store[i]),
            'read: one pickle a clip': lambda i: pickle.loads(pickles[i].read_bytes()),
            'pipeline: ours, body and hands': both.__getitem__,
            'pipeline: ours, body only': body.__getitem__,
            'pipeline: MMAction2, body and hands': partial(peer_clip, parts='both'),
            'pipeline: MMAction2, body only': partial(peer_clip, parts='body'),
        }
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(args.rounds + 1):
            for name, read in contenders.items():
                start = time.perf_counter()
                for i in numbers.tolist():
                    read(i)
                if turn:  # the first round warms up
                    rates[name].append(len(numbers) / (time.perf_counter() - start))
    rows = {}
    for name, values in rates.items():
        low, median, high = np.percentile(values, [25, 50, 75])
        rows[name] = dict(clips_per_s=round(median), middle_half=[round(low), round(high)])
        print(f'{name:32s} {median:9.0f} clips/s ({low:.0f}-{high:.0f})')
    if args.out:
        write_json(args.out, rows)
