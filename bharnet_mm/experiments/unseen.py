"""Top-1 of a score file on all its clips, and on those whose content is not in the training split.

python tools/analysis/unseen.py scores.npz data/nucla --train xview_train

Some data sets hold the same skeleton under two ids: 95 of the 464 clips of N-UCLA's test view equal
one of its training clips (`tools/data/doctor.py` lists them). Clips are compared by their
coordinates.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence

import numpy as np

from ..datasets import ClipStore
from ..errors import ConfigError
from ..evaluation import load_scores
from ..io.atomic import write_json
from ..io.outputs import output_file
from ..io.text import to_json


def content(store: ClipStore, numbers: np.ndarray) -> list[bytes]:
    """A digest of the coordinates and visibility of each clip, whatever its id."""
    digests = []
    for number in numbers:
        clip = store[int(number)]
        digest = hashlib.blake2b(repr(clip.body.shape).encode())
        for array in (clip.body, clip.body_score > 0, clip.hand, clip.hand_score > 0):
            digest.update(np.ascontiguousarray(array))
        digests.append(digest.digest())
    return digests


def unseen(clip_ids: np.ndarray, store: ClipStore, train: str) -> np.ndarray:
    """Which of the clips differ from every clip of the training split: (N,) bool."""
    place = {clip_id: i for i, clip_id in enumerate(store.clip_ids)}
    missing = [clip_id for clip_id in clip_ids if clip_id not in place]
    if missing:
        raise ConfigError(
            'score file',
            f'{len(missing)} clips that are not in {store.path}, such as {missing[0]!r}',
            'scores of clips of this store',
            'name the store that the model was tested on',
        )
    trained = set(content(store, store.select(train)))
    own = content(store, np.array([place[clip_id] for clip_id in clip_ids]))
    return np.array([digest not in trained for digest in own])


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('scores', help='a .npz of tools/test.py --dump')
    parser.add_argument('store')
    parser.add_argument('--train', default='xview_train', help='the training split')
    parser.add_argument('--json', type=output_file, help='write the result there')
    args = parser.parse_args(argv)
    scores = load_scores(args.scores)
    new = unseen(scores.clip_id, ClipStore(args.store), args.train)
    result = {'clips': len(scores), 'unseen': int(new.sum())}
    for name in sorted(scores.logits):
        right = scores.correct(name)
        result[name] = {'top1': right.mean().round(4), 'top1_unseen': right[new].mean().round(4)}
    if args.json:
        write_json(args.json, result)
    print(to_json(result))
