"""The card of a trained model: all that is needed to use it. It is stored in the model's file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import BHaRNetError, ConfigError
from ..io.guard import reading
from ..io.text import parse_json, to_json
from ..layouts import SkeletonLayout, get_layout
from ..version import __version__

#: Key of the card in the metadata of a ``.safetensors`` or ONNX file; its value is JSON.
CARD_KEY = 'bharnet_mm.card'
#: Measures of how sure a model is of its best class.
CONFIDENCES = ('probability', 'agreement')
_EXPECTED = 'the card that bharnet publish writes'
_FIX = 'publish the model again'


def _is_number(value: Any) -> bool:
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    return good and -1e9 < value < 1e9  # also False for NaN


def _is_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


def _is_steps(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(step, dict) and isinstance(step.get('type'), str) for step in value
    )


def _is_channels(value: Any) -> bool:
    good = isinstance(value, dict) and {'body', 'hand'} == set(value)
    return good and all(_is_texts(names) and names for names in value.values())


#: Type and range of each attribute of a card.
_FORMS = {
    'model': lambda value: isinstance(value, dict),
    'pipeline': _is_steps,
    'classes': lambda value: _is_texts(value) and len(value) > 0,
    'none_classes': _is_texts,
    'channels': _is_channels,
    'temperature': lambda value: _is_number(value) and value > 0,
    'unsure_by': lambda value: value in CONFIDENCES,
    'unsure_below': lambda value: _is_number(value) and 0 <= value <= 1,
    'window': lambda value: _is_number(value) and 0 < value <= 86400,
    'results': lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
} | {
    name: lambda value: isinstance(value, str)
    for name in ('name', 'data', 'licence', 'protocol', 'limits', 'version')
}


@dataclass(frozen=True)
class ModelCard:
    """All facts about a trained model besides its weights.

    Attributes:
        name: Name of the model.
        model: Config of the recognizer.
        pipeline: Config of the transforms of a test clip, beginning with the clip.
        classes: Class names in the order of the logits.
        none_classes: Those that mean that no action is shown.
        body_layout: Layout of the clips at the head of the pipeline, a name or a definition.
        channels: Channel names of the ``body`` and the ``hand`` of these clips.
        temperature: Divides the log probabilities, so that they are calibrated.
        unsure_by: Measure of how sure the model is, one of ``CONFIDENCES``; see ``confidence`` in
            ``bharnet_mm.evaluation.measures``.
        unsure_below: The model is unsure if it lies below this.
        window: Seconds of a window of a longer video, about the length of a training clip.
        data: The clips of its training, and where they come from.
        licence: Licence of the data and the weights.
        protocol: How the numbers in ``results`` were measured.
        results: Names to numbers.
        limits: Known limits of the model.
        version: Version of the package that wrote the card.
    """

    name: str
    model: dict[str, Any]
    pipeline: list[dict[str, Any]]
    classes: tuple[str, ...]
    body_layout: str | dict[str, Any]
    channels: dict[str, tuple[str, ...]]
    none_classes: tuple[str, ...] = ()
    temperature: float = 1.0
    unsure_by: str = 'probability'
    unsure_below: float = 0.0
    window: float = 3.0
    data: str = ''
    licence: str = ''
    protocol: str = ''
    results: dict[str, float] = field(default_factory=dict)
    limits: str = ''
    version: str = __version__

    @property
    def layout(self) -> SkeletonLayout:
        """Layout of the bodies at the head of the pipeline."""
        return get_layout(self.body_layout)

    @property
    def num_persons(self) -> int:
        """How many persons of a clip the model sees at once."""
        formats = [step for step in self.pipeline if step['type'].startswith('Format')]
        return int(formats[-1].get('num_persons', 2)) if formats else 1

    @property
    def regions(self) -> dict[str, Any] | None:
        """The step that cuts region grids; None for a model without pictures."""
        found = [step for step in self.pipeline if step['type'] == 'CutRegions']
        return found[0] if found and 'rgb' in self.model else None

    def to_json(self) -> str:
        """The card as JSON."""
        return to_json(asdict(self), None)

    def describe(self) -> str:
        """The card as lines of text."""
        rows: Sequence[tuple[str, Any]] = (
            ('model', self.name),
            ('classes', f'{len(self.classes)}: {", ".join(self.classes[:12])}'),
            ('none', ', '.join(self.none_classes)),
            ('bodies', f'{self.layout.name}, {"".join(self.channels["body"])}'),
            ('window', f'{self.window:g} s'),
            ('temperature', f'{self.temperature:g}'),
            ('unsure', f'{self.unsure_by} below {self.unsure_below:g}'),
            ('data', self.data),
            ('licence', self.licence),
            ('protocol', self.protocol),
            ('results', ', '.join(f'{key} {value:g}' for key, value in self.results.items())),
            ('limits', self.limits),
        )
        return '\n'.join(f'{name:14}{value}' for name, value in rows if value)

    @classmethod
    def from_json(cls, text: str, where: str) -> ModelCard:
        """Reads a card.

        Args:
            text: What :meth:`to_json` wrote.
            where: The file, for errors.

        Raises:
            ConfigError: The text is no card, or one that this version cannot use.
        """
        with reading(where, _EXPECTED, _FIX, ConfigError):
            content = parse_json(text)
            if not isinstance(content, dict):
                raise ValueError(f'a {type(content).__name__}')
            known = {item.name for item in fields(cls)}
            content = {name: value for name, value in content.items() if name in known}
            for name, is_good in _FORMS.items():
                if name in content and not is_good(content[name]):
                    raise ValueError(f'{name} {str(content[name])[:80]!r}')
            for name in ('classes', 'none_classes'):
                content[name] = tuple(content.get(name, ()))
            content['channels'] = {k: tuple(v) for k, v in content['channels'].items()}
            card = cls(**content)
            get_layout(card.body_layout)
        return card


def read_card(path: str | os.PathLike) -> ModelCard:
    """The card of a published file, without its weights.

    Raises:
        BHaRNetError: The file does not exist, is damaged or has no card.
    """
    from safetensors import safe_open

    with (
        reading(path, 'a published model', 'download it again', ConfigError),
        safe_open(path, framework='numpy') as file,
    ):
        meta = file.metadata() or {}
    return ModelCard.from_json(card_text(meta, path), str(path))


def card_text(meta: Mapping[str, Any], where: Any) -> str:
    """The JSON of the card in the metadata of a file.

    Raises:
        ConfigError: There is none.
    """
    text = meta.get(CARD_KEY)
    if not isinstance(text, str):
        raise ConfigError(
            f'{where}',
            'weights without a model card',
            'a .safetensors file that bharnet publish wrote',
            'publish the model, or give its config and this file as the checkpoint',
        )
    return text


def describe_layout(layout: SkeletonLayout) -> str | dict[str, Any]:
    """A layout as plain data: the name of a shipped layout, or the definition of another one."""
    try:
        if get_layout(layout.name) == layout:
            return layout.name
    except BHaRNetError:
        pass
    return {item.name: getattr(layout, item.name) for item in fields(layout) if item.init}


def plain(value: Any) -> Any:
    """Config values as plain dicts, lists and numbers, as JSON can hold them."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value
