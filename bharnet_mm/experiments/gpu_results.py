"""Results of the GPU check's sections, one contender after the other.

They are also in a file while a section runs, so that a process that ends, because the device fails
or hangs, loses no result: the next process continues with the contender after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..io.atomic import write_json
from ..io.text import read_json

#: The error of a contender that has not ended.
UNENDED = 'the process ended meanwhile, or was ended because it took too long'


class Results(dict):
    """Contender → what was measured, or ``error``. Each change is written to a file.

    Args:
        path: The file; None for no file. What is in it is taken over.
        kind: Name of the results in the file.
    """

    def __init__(self, path: Path | None = None, kind: str = 'results') -> None:
        super().__init__(read_results(path).get(kind, {}) if path else {})
        self.path, self.kind = path, kind

    def __setitem__(self, key: str, value: dict) -> None:
        super().__setitem__(key, value)
        if self.path is not None:
            write_json(self.path, {self.kind: self})


def read_results(path: Path) -> dict:
    """A result file of the check; empty if there is none."""
    return read_json(path, 'a result of gpu_check.py', 'remove the file') if path.exists() else {}


def errors_in(path: Path) -> int:
    """How many contenders of a file have failed."""
    return sum('error' in row for rows in read_results(path).values() for row in rows.values())


def without_errors(results: Mapping[str, Any]) -> dict[str, dict]:
    """The results by contender of a section, those of failed contenders left out."""
    return {
        kind: {name: row for name, row in results[kind].items() if 'error' not in row}
        for kind in ('results', 'rows')
        if kind in results
    }


def is_device_error(error: BaseException) -> bool:
    """Whether the device cannot be used by this process any more.

    After an error in a recording it can.
    """
    text = str(error)
    by_triton = 'Triton Error [CUDA]' in text and 'invalid argument' not in text
    by_torch = 'CUDA error' in text or type(error).__name__ == 'AcceleratorError'
    return (by_triton or by_torch) and 'captur' not in text


def attempt(results: dict, key: str, measure: Callable[[], dict]) -> None:
    """Puts what ``measure`` gives, or its error, in the results, unless they are there; raises an
    error of the device.
    """
    if key in results:
        return
    results[key] = dict(error=UNENDED)
    try:
        results[key] = measure()
    except Exception as error:
        results[key] = failure(error)
        if is_device_error(error):
            raise


def failure(error: BaseException) -> dict:
    """The result of a contender that failed."""
    return dict(error=f'{type(error).__name__}: {error}'[:300])


def counted(results: dict) -> dict:
    """A section's results and how many of them failed."""
    return dict(results=results, failed=sum('error' in result for result in results.values()))
