"""Numbers on the command line, with the range that makes sense, for ``argparse``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def integer(least: int | None = None, most: int | None = None) -> Callable[[str], int]:
    """The type of an argument that is a whole number.

    Args:
        least, most: Smallest and largest value; None is no limit.

    Returns:
        A function from text to the number. It raises ArgumentTypeError for anything else.
    """

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        expected = 'a whole number' + _range(least, most)
        return _checked(text, value, expected, least, most)

    return read


def decimal(
    least: float | None = None, most: float | None = None, above: float | None = None
) -> Callable[[str], float]:
    """The type of an argument that is a finite number.

    Args:
        least, most: Smallest and largest value; None is no limit.
        above: The value must be larger than this.

    Returns:
        A function from text to the number. It raises ArgumentTypeError for anything else.
    """

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        fits = math.isfinite(value) and (above is None or value > above)
        expected = 'a number' + (f' above {above:g}' if above is not None else '')
        return _checked(text, value if fits else None, expected + _range(least, most), least, most)

    return read


#: The type of a seed, of Python, numpy and torch alike.
seed_number = integer(0, 2**32 - 1)


def _checked(text, value, expected, least, most):
    low = value is not None and least is not None and value < least
    high = value is not None and most is not None and value > most
    if value is None or low or high:
        raise argparse.ArgumentTypeError(f'found {text!r}; expected {expected}')
    return value


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f' from {least:.10g} to {most:.10g}'
    if least is not None:
        return f', {least:.10g} or more'
    return f', {most:.10g} or less' if most is not None else ''
