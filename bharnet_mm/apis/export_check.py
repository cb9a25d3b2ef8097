"""Compares an exported file with its model, and measures its latency."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from mmaction.structures import ActionDataSample

from ..datasets import Clip
from ..errors import BHaRNetError
from ..models import BHaRNet
from ..runtime import ExportedRecognizer

#: Largest difference of a logit or a probability between the file and the model.
TOLERANCE = 1e-4


def check(model: BHaRNet, exported: ExportedRecognizer, clips: Sequence[Clip]) -> dict[str, float]:
    """Compares an exported file with its model in torch, as it runs in training and testing.

    Both get the clips unchanged, and without the hands, one of them, the bodies, everything, a
    third of the frames, or the regions; one by one and as batches; and with other numbers of
    frames.

    Args:
        model: The model; it is set to evaluation mode.
        exported: The file.
        clips: Real clips of the model's layout.

    Returns:
        Name of the case to the largest difference.

    Raises:
        BHaRNetError: A difference is above :data:`TOLERANCE`; the message names the case.
    """
    model.eval()
    batch = exported.prepare(clips)
    differences = {}
    for case, inputs in _cases(batch, 'frames' in next(iter(exported.inputs.values()))):
        answers, truth = exported.run(inputs), in_torch(model, inputs)
        worst = {name: float(np.abs(answers[name] - truth[name]).max()) for name in truth}
        name = max(worst, key=lambda name: (not np.isfinite(worst[name]), worst[name]))
        differences[case] = worst[name]
        if not worst[name] <= TOLERANCE:
            raise BHaRNetError(
                f'{exported.path}, {case}',
                f'{name} that differs by {worst[name]:.2g} from the model in torch',
                f'at most {TOLERANCE:g}',
                'do not use the file; report it with the versions of torch and onnxruntime',
            )
    return differences


def in_torch(model: BHaRNet, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the model itself answers, by its ``predict`` mode: as :meth:`ExportedRecognizer.run`."""
    device = next(model.parameters()).device
    tensors = {name: torch.from_numpy(x).to(device) for name, x in inputs.items()}
    samples = [ActionDataSample() for _ in range(len(next(iter(inputs.values()))))]
    with torch.no_grad():
        data = model.data_preprocessor(dict(inputs=tensors, data_samples=samples))
        samples = model(**data, mode='predict')
    names = [n for n in samples[0].all_keys() if n.endswith('_logits') or n == 'pred_score']
    return {n: np.stack([s.get(n).float().cpu().numpy() for s in samples]) for n in names}


def _cases(
    batch: dict[str, np.ndarray], any_length: bool
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    frames = next(iter(batch.values())).shape[2]
    generator = np.random.default_rng(0)
    hidden = {name: np.zeros_like(batch[name]) for name in batch if name.endswith('_mask')}

    def sliced(index) -> dict[str, np.ndarray]:
        return {
            name: x if name.startswith('rgb') else np.ascontiguousarray(x[:, :, index])
            for name, x in batch.items()
        }

    yield 'clips as they are', batch
    yield 'one clip', {name: x[:1] for name, x in batch.items()}
    for part in ('hand', 'body', 'rgb'):
        if f'{part}_mask' in batch:
            yield f'without {part}', batch | {f'{part}_mask': hidden[f'{part}_mask']}
    if 'rgb' in batch:  # also where the clips at hand have no images
        noise = generator.integers(256, size=batch['rgb'].shape, dtype=np.uint8)
        mask = generator.random(batch['rgb_mask'].shape) < 0.7
        yield 'pictures of noise', batch | dict(rgb=noise, rgb_mask=mask)
    if 'hand_mask' in batch:
        one = batch['hand_mask'].copy()
        one[:, ::2] = False
        yield 'without left hands', batch | dict(hand_mask=one)
    yield 'without anything', batch | hidden
    kept = {n: batch[n] & (generator.random(batch[n].shape) < 2 / 3) for n in hidden}
    yield 'without a third of the frames', batch | kept
    mixed = {n: mask.copy() for n, mask in batch.items() if n in hidden}
    for i, name in enumerate(mixed):
        mixed[name][i :: len(mixed) + 1] = False
    yield 'each clip without something else', batch | mixed
    # Absent entries are not zero here.
    filled = {n[:-5]: batch[n[:-5]].copy() for n in hidden if n != 'rgb_mask'}
    for name, x in filled.items():
        x[~kept[f'{name}_mask']] = np.nan
    yield 'NaN where frames are missing', batch | kept | filled
    if any_length:
        yield 'fewer frames', sliced(slice(0, max(frames // 2 - 1, 5)))
        yield 'more frames', sliced(np.arange(frames + 3) % frames)


def latency(exported: ExportedRecognizer, clip: Clip, runs: int = 200) -> np.ndarray:
    """Milliseconds of wall time of the graph for one clip, (runs,), after a tenth as many first."""
    inputs = exported.prepare([clip])
    times = []
    for _ in range(runs + runs // 10):
        start = time.perf_counter()
        exported.run(inputs)
        times.append(time.perf_counter() - start)
    return 1000 * np.array(times[-runs:])
