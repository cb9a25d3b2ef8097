"""A share of the training clips, as small sets have them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..datasets import ClipStore


def share_of(store: ClipStore, split: Any, share: float, seed: int) -> list[str]:
    """Ids of a share of the clips of a split, of each class and subject alike, drawn at random.

    Args:
        store: Of the clips.
        split: Name or rule of a split.
        share: Above 0, at most 1. Of every class and subject at least one clip is taken.
        seed: Of the choice.
    """
    chosen = store.select(split)
    labels, subjects = store.labels[chosen], store.column('subject')[chosen]
    order = np.random.default_rng(seed).permutation(len(chosen))
    taken = []
    for label, subject in sorted(set(zip(labels.tolist(), subjects.tolist(), strict=True))):
        group = order[(labels[order] == label) & (subjects[order] == subject)]
        taken += chosen[group[: max(1, round(share * len(group)))]].tolist()
    return [str(store.clip_ids[i]) for i in sorted(taken)]
