"""Splits as rules on the fields of a store's index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import ConfigError
from ...io.names import same_form, to_bytes

_SCALARS = (str, int, np.integer)
_LISTS = (list, tuple, set, frozenset, range, np.ndarray)
FIELDS = ('subject', 'camera', 'setup', 'source', 'clip_id', 'label')


def check_rule(rule: Any, where: str = 'split') -> None:
    """Checks the form of a rule.

    A rule is a dict of index field to a value, a list of values or ``{'not_in': values}``
    (``not`` is a keyword, which MMEngine's dump of a config could not spell), and perhaps
    ``exclude``, a list of such rules. All fields must match, and no rule of ``exclude``.

    Raises:
        ConfigError: Not of this form.
    """
    if not isinstance(rule, Mapping):
        raise ConfigError(
            where,
            f'{rule!r}',
            f'a dict with some of the fields {list(FIELDS)} and perhaps exclude',
            "write a rule such as {'subject': ['1', '2']}",
        )
    for key, wanted in rule.items():
        if key == 'exclude':
            rules = [wanted] if isinstance(wanted, Mapping) else wanted
            if isinstance(rules, str) or not isinstance(rules, Sequence):
                raise ConfigError(
                    where, f'exclude {wanted!r}', 'a list of rules', "write [{'subject': ['1']}]"
                )
            for i, part in enumerate(rules):
                check_rule(part, f'{where}, exclude[{i}]')
                if not part:
                    raise ConfigError(
                        f'{where}, exclude[{i}]',
                        'an empty rule, which excludes every clip',
                        'at least one field',
                        'remove it or name a field',
                    )
            continue
        if key not in FIELDS:
            raise ConfigError(
                where,
                f'the field {key!r}',
                f'one of {[*FIELDS, "exclude"]}',
                'correct the spelling',
            )
        if isinstance(wanted, Mapping) and set(wanted) != {'not_in'}:
            raise ConfigError(
                f'{where}, {key}',
                f'{dict(wanted)!r}',
                "{'not_in': [values]}",
                'use only the key not_in',
            )
        values = wanted['not_in'] if isinstance(wanted, Mapping) else wanted
        if not isinstance(values, (*_SCALARS, *_LISTS)):
            raise ConfigError(
                f'{where}, {key}', f'{values!r}', 'a value or a list of values', 'write a list'
            )
        if not _values(wanted):
            raise ConfigError(
                f'{where}, {key}',
                'no values',
                'at least one value',
                'name values or drop the field',
            )


def plain_rule(rule: Mapping) -> dict[str, Any]:
    """A checked rule with its values as lists of strings, ready for JSON."""
    plain: dict[str, Any] = {}
    for key, wanted in rule.items():
        if key == 'exclude':
            rules = [wanted] if isinstance(wanted, Mapping) else wanted
            plain[key] = [plain_rule(part) for part in rules]
        else:
            values = _values(wanted)
            plain[key] = {'not_in': values} if isinstance(wanted, Mapping) else values
    return plain


def match(
    index: np.ndarray,
    classes: Sequence[str],
    rule: Mapping,
    where: str = 'split',
    strict: bool = True,
) -> np.ndarray:
    """Which rows of a store's index a rule selects.

    Args:
        index: Index rows, (n,) of ``store.format.ROW``.
        classes: Class names, so that ``label`` can be given by name.
        rule: See ``check_rule``.
        where: Named in errors.
        strict: Whether each value must occur in some clip, as for a rule given by the user. The
            splits of a store may be those of a larger data set.

    Returns:
        (n,) bool.

    Raises:
        ConfigError: The rule is malformed, a label is no class, or with ``strict`` a value occurs
            in no clip.
    """
    check_rule(rule, where)
    mask = np.ones(len(index), dtype=bool)
    for key, wanted in rule.items():
        if key == 'exclude':
            for i, part in enumerate([wanted] if isinstance(wanted, Mapping) else wanted):
                mask &= ~match(index, classes, part, f'{where}, exclude[{i}]', strict)
            continue
        column = np.ascontiguousarray(index[key])
        values = _coded(key, wanted, classes, where)
        have = set(column.tolist())
        if strict and not set(values) <= have:
            unknown = [value for coded, value in values.items() if coded not in have]
            raise ConfigError(
                f'{where}, {key}',
                f'the values {[value[:100] for value in unknown[:10]]}, which no clip has',
                f'some of {[_text(v) for v in np.unique(column)[:50]]}',
                'name values that the store holds, or convert the missing clips',
            )
        # An array of the values would have room for the longest in each place.
        hit = np.isin(column, np.array([v for v in values if v in have], dtype=column.dtype))
        mask &= ~hit if isinstance(wanted, Mapping) else hit
    return mask


def absent_values(
    index: np.ndarray, classes: Sequence[str], rule: Mapping, where: str = 'split'
) -> dict[str, list[str]]:
    """Values that a rule names and no clip has, by field; rules in ``exclude`` count too.

    A part of a data set, or one of which some clips were refused, lacks some of the values of the
    official rules. The rest of the rule is still valid.
    """
    check_rule(rule, where)
    absent: dict[str, list[str]] = {}
    for key, wanted in rule.items():
        if key == 'exclude':
            for part in [wanted] if isinstance(wanted, Mapping) else wanted:
                for name, values in absent_values(index, classes, part, where).items():
                    absent.setdefault(name, []).extend(values)
            continue
        have = set(np.unique(index[key]).tolist())
        for coded, value in _coded(key, wanted, classes, where).items():
            if coded not in have:
                absent.setdefault(key, []).append(value)
    return absent


def values_of(index: np.ndarray, rule: Mapping) -> dict[str, list]:
    """Values of the clips in the fields of a rule, at most 50, for messages."""
    fields = [key for key in rule if key != 'exclude']
    return {key: [_text(v) for v in np.unique(index[key])[:50]] for key in fields}


def _values(wanted: Any) -> list[str]:
    """Values as strings, so that ``1`` and ``'1'`` are the same subject."""
    if isinstance(wanted, Mapping):
        wanted = wanted['not_in']
    if isinstance(wanted, _SCALARS):
        wanted = [wanted]
    return [same_form(str(value)) for value in wanted]


def _coded(key: str, wanted: Any, classes: Sequence[str], where: str) -> dict[int | bytes, str]:
    """Values as the index has them, a label as its number, with the value as it was given."""
    values = _values(wanted)
    if key != 'label':
        return {to_bytes(value): value for value in values}
    number = {name: i for i, name in reversed(list(enumerate(classes)))}
    return {_label(value, number, classes, where): value for value in values}


def _label(value: str, number: Mapping[str, int], classes: Sequence[str], where: str) -> int:
    if value in number:
        return number[value]
    if value.isdecimal() and len(value) < 10 and int(value) < len(classes):
        return int(value)
    raise ConfigError(
        f'{where}, label',
        f'{value[:100]!r}',
        f'a class name or a number from 0 to {len(classes) - 1}; names: {list(classes)[:50]}',
        'correct the class',
    )


def _text(value: Any) -> Any:
    return value.decode('utf-8', 'replace') if isinstance(value, bytes) else value.item()
