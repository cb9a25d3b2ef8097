"""What a trained model needs to be used: a card that travels inside its file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import BHaRNetError, ConfigError
from ..layouts import SkeletonLayout, get_layout
from ..version import __version__

#: Key of the card in the metadata of a ``.safetensors`` or ONNX file; its value is JSON.
CARD_KEY = 'bharnet_mm.card'


@dataclass(frozen=True)
class ModelCard:
    """What belongs to a trained model beside its weights.

    Attributes:
        name: Name of the model.
        model: Config of the recognizer.
        pipeline: Config of the transforms of a test clip, from the clip on.
        classes: Class names in the order of the logits.
        none_classes: Those that mean that no action is shown.
        body_layout: Layout of the clips at the head of the pipeline, a name or a definition.
        channels: Channel names of the ``body`` and the ``hand`` of these clips.
        temperature: Divides the log probabilities, so that they are calibrated.
        unsure_below: The model is unsure where its largest calibrated probability lies below this.
        window: Seconds of a window of a longer video, about the length of a training clip.
        data: Which clips it was trained on, and where they come from.
        licence: Of the data and the weights.
        protocol: How the numbers in ``results`` were measured.
        results: Names to numbers.
        limits: What it cannot do.
        version: Of the package that wrote the card.
    """

    name: str
    model: dict[str, Any]
    pipeline: list[dict[str, Any]]
    classes: tuple[str, ...]
    body_layout: str | dict[str, Any]
    channels: dict[str, tuple[str, ...]]
    none_classes: tuple[str, ...] = ()
    temperature: float = 1.0
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

    def to_json(self) -> str:
        """The card as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def describe(self) -> str:
        """The card as lines of text."""
        rows: Sequence[tuple[str, Any]] = (
            ('model', self.name),
            ('classes', f'{len(self.classes)}: {", ".join(self.classes[:12])}'),
            ('none', ', '.join(self.none_classes)),
            ('bodies', f'{self.layout.name}, {"".join(self.channels["body"])}'),
            ('window', f'{self.window:g} s'),
            ('temperature', f'{self.temperature:g}'),
            ('unsure below', f'{self.unsure_below:g}'),
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
            ConfigError: It is none, or one that this version cannot use.
        """
        try:
            content = json.loads(text)
            known = {item.name for item in fields(cls)}
            card = cls(**{name: value for name, value in content.items() if name in known})
            return cls(
                **{item.name: getattr(card, item.name) for item in fields(cls)}
                | {
                    'classes': tuple(card.classes),
                    'none_classes': tuple(card.none_classes),
                    'channels': {part: tuple(names) for part, names in card.channels.items()},
                }
            )._checked(where)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            if isinstance(error, BHaRNetError):
                raise
            raise ConfigError(
                where,
                f'a damaged model card ({error})',
                'the card that bharnet publish writes',
                'publish the model again',
            ) from None

    def _checked(self, where: str) -> ModelCard:
        numbers = (self.temperature, self.unsure_below, self.window)
        good = all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers)
        if not good or self.temperature <= 0 or not 0 <= self.unsure_below <= 1 or self.window <= 0:
            raise ConfigError(
                where,
                f'temperature {self.temperature}, unsure_below {self.unsure_below}, '
                f'window {self.window}',
                'a temperature and a window above 0 and a threshold from 0 to 1',
                'publish the model again',
            )
        get_layout(self.body_layout)
        return self


def read_card(path: str | os.PathLike) -> ModelCard:
    """The card of a published file, without its weights.

    Raises:
        BHaRNetError: No such file, a damaged one, or one without a card.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise ConfigError(f'{path}', 'no such file', 'a published model', 'correct the path')
    try:
        with safe_open(path, framework='numpy') as file:
            meta = file.metadata() or {}
    except SafetensorError as error:
        raise ConfigError(
            f'{path}', f'a damaged file ({error})', 'a published model', 'download it again'
        ) from None
    return ModelCard.from_json(card_text(meta, path), str(path))


def card_text(meta: Mapping[str, Any], where: Any) -> str:
    """The card's JSON out of the metadata of a file.

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
    """A layout as plain data: its name if it is a shipped one, else its definition."""
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
