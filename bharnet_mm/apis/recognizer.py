"""A trained model with its card, which predicts for clips."""

from __future__ import annotations

import abc
import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.clip import Clip, pipeline_input
from ..errors import ConfigError
from ..evaluation.measures import confidence, log_softmax
from ..io.guard import reading
from ..layouts import SkeletonLayout, get_layout
from .devices import find_device
from .model_card import ModelCard, card_text
from .model_zoo import find_config, find_trained
from .results import Label, Prediction

NO_GRID = 'no region in an image: the rgb expert is absent'


class Recognizer(abc.ABC):
    """A trained model, in torch or exported, which predicts for clips.

    Args:
        card: Its card.
    """

    def __init__(self, card: ModelCard) -> None:
        self.card = card

    @abc.abstractmethod
    def scores(
        self, clips: Sequence[Clip], grids: Sequence[Any] | None = None
    ) -> dict[str, np.ndarray]:
        """Log probabilities ``(N, K)`` by name: ``'fused'``, and each expert's, NaN if it is
        absent. ``grids`` is as in :meth:`predict`.
        """

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the scores."""
        return self.card.classes

    @property
    def window(self) -> float:
        """Seconds of a window of a longer video."""
        return self.card.window

    def predict(
        self,
        clips: Sequence[Clip],
        body_layout: str | dict | SkeletonLayout | None = None,
        channels: Mapping[str, Sequence[str]] | None = None,
        top_k: int = 5,
        grids: Sequence[tuple[np.ndarray, np.ndarray] | None] | None = None,
    ) -> list[Prediction]:
        """Predictions for clips, with the calibration and the threshold of the model's card.

        Args:
            clips: Clips, each of one person or of several with a common prediction.
            body_layout: Layout of the clips' bodies. Defaults to the one the model was trained on;
                from another one the joints are selected by name.
            channels: Channel names of the clips' ``body`` and ``hand``. Defaults to the model's.
            top_k: Largest number of labels in a prediction.
            grids: For a model with an rgb expert, the region grid and its mask of each clip,
                see :class:`GridCutter`. Without a grid the skeletons are judged alone, and the
                prediction has a note.

        Raises:
            BHaRNetError: The clips lack joints or channels that the model was trained on.
        """
        card = self.card
        layout = card.layout if body_layout is None else get_layout(body_layout)
        clips = [fit_clip(clip, layout, channels or card.channels, card) for clip in clips]
        if not clips:
            return []
        scores = self.scores(clips) if grids is None else self.scores(clips, grids)
        wanted = len(clips), len(card.classes)
        for name, value in {'fused': None, **scores}.items():
            if np.shape(value) != wanted:
                raise ConfigError(
                    f'model {card.name!r}',
                    f'{name} scores of shape {np.shape(value)} for {len(clips)} clips',
                    f'{wanted}, one for each class of its card',
                    'publish or export the model again',
                )
        if not np.isfinite(scores['fused']).all():
            first = int(np.flatnonzero(~np.isfinite(scores['fused']).all(-1))[0])
            raise ConfigError(
                f'model {card.name!r}, clip {clips[first].clip_id!r}',
                'predictions that are not finite',
                'finite ones',
                'the weights or the coordinates are damaged or huge: publish the model again, or '
                'look at the clip with tools/data/doctor.py',
            )
        fused = calibrated(scores.pop('fused'), card.temperature)
        experts = {name: calibrated(value, card.temperature) for name, value in scores.items()}
        sure = confidence(card.unsure_by, fused, experts)
        return [
            _prediction(
                card,
                clip,
                fused[i],
                float(sure[i]),
                {name: value[i] for name, value in experts.items()},
                min(top_k, len(card.classes)),
            )
            for i, clip in enumerate(clips)
        ]


def calibrated(log_probability: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (N, K) after dividing the log probabilities by the temperature."""
    z = np.asarray(log_probability, dtype=np.float64) / temperature
    z = np.exp(z - z.max(-1, keepdims=True))
    return z / z.sum(-1, keepdims=True)


def _prediction(
    card: ModelCard,
    clip: Clip,
    fused: np.ndarray,
    sure: float,
    experts: dict[str, np.ndarray],
    top_k: int,
) -> Prediction:
    def best(probability: np.ndarray) -> tuple[Label, ...]:
        if not np.isfinite(probability).all():
            return ()
        order = np.argsort(-probability, kind='stable')[:top_k]
        return tuple(Label(card.classes[k], float(probability[k])) for k in order)

    labels, reason = best(fused), ''
    opinions = {name: best(value) for name, value in experts.items()}
    if not (clip.body_score > 0).any() and not (clip.hand_score > 0).any():
        reason = 'nobody is seen'
    elif sure < card.unsure_below:
        what = {'probability': 'the best probability', 'agreement': "the experts' agreement"}
        reason = f'{what[card.unsure_by]} {sure:.3f} is below {card.unsure_below:.3f}'
    return Prediction(
        labels=labels,
        experts=opinions,
        unsure=bool(reason),
        reason=reason,
        none=labels[0].name in card.none_classes,
        notes=() if card.regions is None or opinions.get('rgb') else (NO_GRID,),
    )


def fit_clip(
    clip: Clip, layout: SkeletonLayout, channels: Mapping[str, Sequence[str]], card: ModelCard
) -> Clip:
    """The clip with the joints and channels that the model was trained on.

    Raises:
        BHaRNetError: The clip lacks some of them.
    """
    wanted = card.layout
    changed: dict[str, Any] = {}
    if layout != wanted:
        missing = [joint for joint in wanted.joints if joint not in layout.joints]
        if missing:
            raise ConfigError(
                f'model {card.name!r}',
                f'bodies in the layout {layout.name!r}, without {missing[:4]}'
                + (f' and {len(missing) - 4} more joints' if len(missing) > 4 else ''),
                f'the joints of {wanted.name!r}, which the model was trained on',
                f'use a model trained on {layout.name!r}, or give clips in {wanted.name!r}',
            )
        index = layout.select(wanted)
        changed['body'] = clip.body[:, :, index]
        if clip.body_pixel is not None:
            changed['body_pixel'] = clip.body_pixel[:, :, index]
    for part in ('body', 'hand'):
        have, want = list(channels[part]), list(card.channels[part])
        if have == want or (part == 'hand' and not (clip.hand_score > 0).any()):
            if have != want:
                changed['hand'] = np.zeros((*clip.hand.shape[:-1], len(want)), np.float32)
            continue
        if not set(want) <= set(have):
            raise ConfigError(
                f'model {card.name!r}, {part}',
                f'the channels {have}',
                f'{want}, which the model was trained on',
                'give clips with these channels, or use a model without them',
            )
        array = changed.get(part, getattr(clip, part))
        changed[part] = np.ascontiguousarray(array[..., [have.index(name) for name in want]])
    return replace(clip, **changed) if changed else clip


class TorchRecognizer(Recognizer):
    """A trained recognizer in torch.

    On a GPU, inputs of shapes that have come twice before are computed as a CUDA graph
    (:class:`GraphedForward`), which spares the host the launch of hundreds of kernels. With
    ``BHARNET_CUDA_GRAPHS=0`` in the environment, or if that fails, they are launched one by one.

    Args:
        card: Its card.
        state: Its weights, name to tensor.
        device: Device of the model; by default the GPU if there is one.
        trusted: Whether the card was made from the user's own config, which may name any object.

    Raises:
        ConfigError: The weights do not fit the card's model, or the card of a file names something
            that is not a registered part.
    """

    def __init__(
        self,
        card: ModelCard,
        state: Mapping[str, Any],
        device: str | None = None,
        trusted: bool = False,
    ) -> None:
        from .foreign_model import build_from_card, build_steps

        super().__init__(card)
        self.trusted = trusted
        self.device = find_device(device)
        self.pipeline = build_steps(card, trusted)
        self.model = build_from_card(card, state, trusted).to(self.device)
        head = getattr(self.model, 'cls_head', None)
        ours = hasattr(head, 'answers') and hasattr(self.model.data_preprocessor, 'bucket_steps')
        self._answers: Any = _answers if ours else None
        if ours and self.device.type == 'cuda' and os.environ.get('BHARNET_CUDA_GRAPHS') != '0':
            self.use_graphs()

    def use_graphs(self) -> None:
        """Computes inputs of shapes that have come twice before as a CUDA graph."""
        from ..engine.cuda_graphs import GraphedForward

        self.model.data_preprocessor.bucket_steps = 8
        graphed = GraphedForward(self.model, _answers, after=2)
        self._answers = lambda model, inputs: graphed(inputs)

    def __repr__(self) -> str:
        return f'TorchRecognizer({self.card.name!r}, device={str(self.device)!r})'

    def scores(
        self, clips: Sequence[Clip], grids: Sequence[Any] | None = None
    ) -> dict[str, np.ndarray]:
        """Log probabilities ``(N, K)`` of the fused prediction and of each expert."""
        import torch
        from mmengine.dataset import pseudo_collate

        guard: Any = contextlib.nullcontext()
        if not self.trusted:
            where, expected = f'model {self.card.name!r}', 'a card whose model and pipeline fit'
            guard = reading(where, expected, 'publish the model again', ConfigError)
        layouts = self.card.layout, get_layout('hand')
        with guard, torch.inference_mode():
            packed = []
            for i, clip in enumerate(clips):
                masked, _ = clip.with_nonfinite_masked()
                head = pipeline_input(masked, *layouts) | with_grid(grids, i)
                packed.append(self.pipeline(head))
            data = self.model.data_preprocessor(pseudo_collate(packed), training=False)
            if self._answers is not None:
                answers = self._answers(self.model, data['inputs'])
                return log_scores({name: x.cpu().numpy() for name, x in answers.items()})
            samples = self.model(**data, mode='predict')
        names = [f'{name}_logits' for name in getattr(self.model.cls_head, 'modalities', ())]
        return log_scores(
            {
                name: np.stack([sample.get(name).float().cpu().numpy() for sample in samples])
                for name in ('pred_score', *names)
            }
        )


def _answers(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs of a model of ours, which need no data samples."""
    return model.cls_head.answers(model.extract_feat(inputs)[0])


def with_grid(grids: Sequence[Any] | None, i: int) -> dict[str, np.ndarray]:
    """The keys that ``CutRegions`` takes with ``given``, for clip ``i``."""
    if grids is None or grids[i] is None:
        return {}
    return {'rgb': grids[i][0], 'rgb_mask': grids[i][1]}


def log_scores(answers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The log probabilities of :meth:`Recognizer.scores`, from the outputs of a model.

    Args:
        answers: ``pred_score``, the fused probabilities, and ``body_logits`` and so on, (N, K)
            each. An absent expert gives zeros.
    """
    tiny = np.finfo(np.float32).tiny
    out = {'fused': np.log(np.maximum(answers['pred_score'], tiny))}
    for name in ('body', 'hand', 'rgb'):
        if f'{name}_logits' in answers:
            z = answers[f'{name}_logits']
            out[name] = np.where((z == 0).all(-1, keepdims=True), np.nan, log_softmax(z))
    return out


def load_recognizer(
    model: str | os.PathLike, checkpoint: str | os.PathLike | None = None, device: str | None = None
) -> Recognizer:
    """Loads a trained model.

    Args:
        model: Name of a shipped model (:func:`bharnet_mm.list_models`), a ``.safetensors`` file or
            URL that ``bharnet publish`` wrote, an exported ``.onnx`` or ``.pt2``, a work folder of
            ``tools/train.py``, or a config file together with ``checkpoint``.
        checkpoint: The weights for a config file.
        device: Device in torch's notation. Defaults to the GPU if there is one.

    Raises:
        BHaRNetError: The model does not exist, its file is damaged, or the weights are those of
            another model.
    """
    name = os.fspath(model)
    # With a checkpoint, a name means a config, although a trained model may have the same name.
    path = find_trained(name) if checkpoint is None else Path(find_config(name))
    if path.suffix == '.py':
        return TorchRecognizer(*_read_config(path, checkpoint), device, trusted=True)
    if path.is_dir():
        return TorchRecognizer(*_read_work_folder(path), device, trusted=True)
    if path.suffix in ('.onnx', '.pt2'):
        from .exported import load_exported

        return load_exported(path, device)
    card, state = read_published(name if '://' in name else path)
    return TorchRecognizer(card, state, device)


def read_published(source: str | os.PathLike) -> tuple[ModelCard, dict[str, Any]]:
    """Card and weights of a file or URL that ``bharnet publish`` wrote.

    Raises:
        BHaRNetError: The file does not exist, has another checksum or no card.
    """
    from ..io.weights import load_weights

    loaded = load_weights(source)
    text = card_text(dict(loaded.get('meta') or {}), source)
    return ModelCard.from_json(text, str(source)), loaded['state_dict']


def _read_config(
    config: Path, checkpoint: str | os.PathLike | None
) -> tuple[ModelCard, dict[str, Any]]:
    from mmengine.config import Config

    from ..io.weights import load_weights
    from .publish import card_of_config

    if checkpoint is None:
        raise ConfigError(
            f'{config}', 'a config without weights', 'a checkpoint as well', 'give checkpoint='
        )
    loaded = load_weights(checkpoint)
    return card_of_config(Config.fromfile(config), loaded), loaded.get('state_dict', loaded)


def _read_work_folder(folder: Path) -> tuple[ModelCard, dict[str, Any]]:
    from .trained_run import checkpoint_of

    configs = sorted(folder.glob('*.py'))
    if len(configs) != 1:
        raise ConfigError(
            f'{folder}',
            f'{len(configs)} configs',
            'one config and the checkpoint trained with it',
            'name a work folder of tools/train.py, or give config and checkpoint',
        )
    return _read_config(configs[0], checkpoint_of(folder))
