"""Publishes a trained model as one safetensors file with its card inside."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.store import ClipStore
from ..errors import ConfigError
from ..evaluation.fusion import fit_temperature
from ..evaluation.measures import calibration_error, confidence, separation
from ..evaluation.scores import Scores, load_scores
from ..io.arguments import decimal
from ..io.guard import reading
from ..io.outputs import output_file
from ..io.text import load_json
from .model_card import CARD_KEY, CONFIDENCES, ModelCard, describe_layout, plain
from .recognizer import calibrated, log_scores

_PATHS = ('store', 'data_root')  # of the training machine, in steps that read videos


def card_of_config(cfg: Any, checkpoint: Mapping[str, Any], name: str | None = None) -> ModelCard:
    """The card of a model, made from its config, its checkpoint and, if available, its data.

    Args:
        cfg: MMEngine config it was trained with.
        checkpoint: The loaded checkpoint; its ``meta`` has the classes.
        name: Defaults to the config's file name.

    Raises:
        ConfigError: Neither the checkpoint nor the store of the config has the classes.
    """
    dataset = cfg.test_dataloader.dataset
    meta = dict(checkpoint.get('meta') or {}).get('dataset_meta') or {}
    said = _facts_of_store(dataset.get('store')) or {}
    if meta.get('classes') and list(said.get('classes') or ()) != list(meta['classes']):
        said = dict(meta)  # the store that lies there now is not that of the training
    if not said.get('classes'):
        raise ConfigError(
            f'{cfg.filename}',
            'neither classes in the checkpoint nor the clip store of the config',
            'a checkpoint that tools/train.py wrote, or the store',
            'set test_dataloader.dataset.store to where the clips are now',
        )
    pipeline = [
        {key: value for key, value in plain(step).items() if key not in _PATHS}
        for step in (*_regions(dataset), *dataset.pipeline)
    ]
    model = plain(cfg.model)
    if 'experts_checkpoint' in model:  # where the weights came from; they are in the checkpoint now
        model |= {'experts_checkpoint': None, 'freeze_experts': False}
    held_out = (checkpoint.get('meta') or {}).get('held_out') or {}
    channels = said.get('channels') or {'body': ('x', 'y', 'z'), 'hand': ('x', 'y', 'z')}
    return ModelCard(
        name=name or Path(cfg.filename).stem,
        model=model,
        pipeline=pipeline,
        classes=tuple(said['classes']),
        none_classes=tuple(c for c in said['classes'] if c.lower() in ('none', 'no_gesture')),
        body_layout=said.get('body_layout', 'kinect_v2'),
        channels={part: tuple(names) for part, names in channels.items()},
        window=said.get('clip_seconds') or 3.0,
        unsure_below=held_out.get('unsure_below', 0.0),
        results=dict(held_out.get('results') or {}),
    )


def _regions(dataset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The step that cuts regions. The data set puts it before its pipeline."""
    regions = dataset.get('regions')
    return [] if regions is None else [dict(type='CutRegions') | dict(regions)]


def _facts_of_store(path: Any) -> dict[str, Any] | None:
    """Classes, layout and channels of a store, None if there is none."""
    if not isinstance(path, (str, os.PathLike)) or not (Path(path) / 'store.json').is_file():
        return None
    store = ClipStore(path)
    fps, frames = store.column('fps'), store.column('frames')
    known = fps > 0
    return {
        'classes': list(store.classes),
        'body_layout': describe_layout(store.body_layout),
        'channels': {part: tuple(names) for part, names in store.channels.items()},
        'clip_seconds': round(float(np.median(frames[known] / fps[known])), 2)
        if known.any()
        else 0,
    }


def calibrate(
    card: ModelCard,
    held_out: Scores,
    kept: float = 0.9,
    unknown: Sequence[tuple[Scores, Sequence[str]]] = (),
) -> ModelCard:
    """The card with a temperature and a threshold found on clips that were not trained on.

    The temperature has the least mean negative log likelihood (Guo et al., ICML 2017). The model
    is unsure below the largest confidence that leaves the share ``kept`` of its right answers.
    With ``unknown`` the confidence is the measure that separates known from unknown actions best
    (area under the ROC curve).

    Args:
        card: To be completed.
        held_out: Scores of such clips, ``pred`` among them; of several folds put together.
        kept: Share of the right answers that stay sure, in (0, 1].
        unknown: Scores of other models on clips they were not trained on, each with the classes
            that were left out of its training altogether.

    Raises:
        ConfigError: Scores of other classes, or a share out of range.
    """
    if held_out.classes != card.classes or 'pred' not in held_out.logits:
        raise ConfigError(
            'held-out scores',
            f'the classes {list(held_out.classes)[:4]} ...',
            f'{list(card.classes)[:4]} ..., and the fused prediction `pred`',
            'score held-out clips of the same data set by tools/test.py --dump',
        )
    if not 0 < kept <= 1:
        raise ConfigError('kept', f'{kept}', 'a share above 0, at most 1', 'correct it')
    z, label = held_out.logits['pred'].astype(np.float64), held_out.label
    temperature = fit_temperature(z, label)
    probability = calibrated(z, temperature)
    right = probability.argmax(1) == label
    chosen, separations = 'probability', {}
    if unknown:
        separations = {name: _separation(name, temperature, unknown) for name in CONFIDENCES}
        chosen = max(separations, key=separations.get)
    confident = confidence(chosen, probability, _experts(held_out, temperature))
    threshold = float(np.quantile(confident[right], 1 - kept)) if right.any() else 0.0
    sure = confident >= threshold
    results = {
        'held_out_clips': len(z),
        'held_out_top1': round(float(right.mean()), 4),
        'held_out_top1_of_the_sure': round(float(right[sure].mean()), 4) if sure.any() else 0.0,
        'held_out_share_sure': round(float(sure.mean()), 4),
        'held_out_ece': round(calibration_error(probability, label), 4),
    }
    for name, value in separations.items():
        results[f'unknown_auroc_{name}'] = round(value, 4)
    if unknown:
        rejected = [c[n] < threshold for c, _, n in _answers(chosen, temperature, unknown)]
        results['unknown_clips'] = int(sum(len(r) for r in rejected))
        results['unknown_share_unsure'] = round(float(np.concatenate(rejected).mean()), 4)
    return replace(
        card,
        temperature=round(temperature, 4),
        unsure_by=chosen,
        unsure_below=round(threshold, 4),
        results=card.results | results,
    )


def _experts(scores: Scores, temperature: float) -> dict[str, np.ndarray]:
    """Calibrated probabilities of each expert, NaN if it is absent."""
    logits = {f'{n}_logits': z for n, z in scores.logits.items() if n in ('body', 'hand', 'rgb')}
    values = log_scores({'pred_score': np.exp(scores.logits['pred']), **logits})
    return {n: calibrated(v, temperature) for n, v in values.items() if n != 'fused'}


def _answers(
    measure: str, temperature: float, unknown: Sequence[tuple[Scores, Sequence[str]]]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Confidence, which answers are right, and which clips show an unknown action, by model."""
    for scores, names in unknown:
        probability = calibrated(scores.logits['pred'], temperature)
        left_out = np.isin(scores.label, [scores.classes.index(name) for name in names])
        confident = confidence(measure, probability, _experts(scores, temperature))
        yield confident, (probability.argmax(1) == scores.label) & ~left_out, left_out


def _separation(
    measure: str, temperature: float, unknown: Sequence[tuple[Scores, Sequence[str]]]
) -> float:
    parts = list(_answers(measure, temperature, unknown))
    known, strange = (np.concatenate([part[0][part[i]] for part in parts]) for i in (1, 2))
    return separation(known, strange)


def read_unknown(folder: str | os.PathLike) -> list[tuple[Scores, Sequence[str]]]:
    """Scores of a folder of ``leave_one_out.py --unknown``, each with its unknown classes.

    Raises:
        BHaRNetError: Not such a folder.
    """
    file = Path(folder) / 'summary.json'
    where = 'the summary of leave_one_out.py --unknown'
    with reading(file, where, 'run it with --unknown', ConfigError):
        names = load_json(file)['unknown']
        if not names:
            raise ValueError('no unknown classes')
    found = sorted(Path(folder).glob('*/scores.npz'))
    return [(load_scores(path), names) for path in found]


def write_published(path: str | os.PathLike, card: ModelCard, state: Mapping[str, Any]) -> str:
    """Writes card and weights to one ``.safetensors`` file; returns its SHA-256.

    Args:
        path: File to write.
        card: Stored in the file's metadata.
        state: Name to tensor.
    """
    from safetensors.torch import save

    from ..io.atomic import atomic_write

    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    content = save(tensors, metadata={CARD_KEY: card.to_json(), 'format': 'pt'})
    with atomic_write(path, 'wb') as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``bharnet publish``."""
    parser.add_argument('model', help='config, or work folder of a training')
    parser.add_argument('checkpoint', nargs='?', help='weights for a config')
    parser.add_argument(
        '--out', required=True, metavar='FILE', type=output_file, help='.safetensors to write'
    )
    parser.add_argument('--name', help="default: the output's name")
    parser.add_argument(
        '--held-out',
        nargs='+',
        default=[],
        metavar='SCORES',
        help='score files of clips that were not trained on, such as those of the folds of a '
        'cross-validation: temperature and threshold come from them',
    )
    parser.add_argument(
        '--unknown',
        nargs='+',
        default=[],
        metavar='FOLDER',
        help='folders of leave_one_out.py --unknown: what tells unknown actions best is taken',
    )
    parser.add_argument(
        '--kept',
        type=decimal(above=0, most=1),
        default=0.9,
        help='share of the right answers on them that stay sure (0.9)',
    )
    parser.add_argument(
        '--window', type=decimal(above=0), help="seconds of a window; default: the clips'"
    )
    parser.add_argument('--none-classes', nargs='*', help='classes that mean no action')
    for name, text in (
        ('data', 'what it was trained on, and where that comes from'),
        ('licence', 'of data and weights'),
        ('protocol', 'how the numbers were measured'),
        ('limits', 'what it cannot do'),
    ):
        parser.add_argument(f'--{name}', default='', help=text)


def run(args: argparse.Namespace) -> int:
    """Publishes, given the arguments of the command line."""
    from ..evaluation.fusion import concatenate
    from .recognizer import load_recognizer

    out = args.out
    if out.suffix != '.safetensors':
        raise ConfigError('--out', f'{str(out)!r}', 'a name that ends in .safetensors', 'rename it')
    recognizer = load_recognizer(args.model, args.checkpoint, 'cpu')
    changes = {name: getattr(args, name) for name in ('data', 'licence', 'protocol', 'limits')}
    changes |= {'window': args.window} if args.window else {}
    if args.none_classes is not None:
        changes['none_classes'] = tuple(args.none_classes)
    card = replace(recognizer.card, name=args.name or out.stem, **changes)
    if args.held_out:
        held_out = concatenate([load_scores(path) for path in args.held_out])
        unknown = [pair for folder in args.unknown for pair in read_unknown(folder)]
        card = calibrate(card, held_out, args.kept, unknown)
    digest = write_published(out, card, recognizer.model.state_dict())
    print(f'{out}: {out.stat().st_size / 1e6:.2f} MB, sha256 {digest}')
    print(card.describe())
    return 0
