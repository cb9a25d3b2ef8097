"""The result of an examination."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .collection import Collection

#: Error: training or its test result would be wrong. Warning: look at it. Note: good to know.
SEVERITIES = ('error', 'warning', 'note')


@dataclass(frozen=True)
class Finding:
    """One finding.

    Args:
        check: Name of the check.
        severity: One of ``SEVERITIES``.
        message: What was found.
        fix: What to do about it.
        count: How many clips (or classes, videos, as the message says) are concerned.
        examples: Some of their ids.
    """

    check: str
    severity: str
    message: str
    fix: str = ''
    count: int = 0
    examples: tuple[str, ...] = ()


@dataclass
class Diagnosis:
    """All findings, and the numbers that a report shows.

    Args:
        path: What was examined.
        name: Name of the data set.
        kind: ``clip store`` or ``annotation pickle``.
        checks: Names of the checks that ran, in order.
        findings: Errors first.
        totals: Clips, frames, and shares of frames without body and hands.
        splits: One dict per split: name, clips, classes, subjects and missing shares.
        classes: One dict per class: number, name, clips, clips per split and missing shares.
        lengths: Histogram of clip lengths: ``edges`` (n + 1,) frames and ``counts`` (n,).
        example: Number of a clip that shows as much as possible, or None.
        collection: What was examined, opened; None if it could not be.
    """

    path: str
    name: str
    kind: str
    checks: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    totals: dict[str, Any] = field(default_factory=dict)
    splits: list[dict[str, Any]] = field(default_factory=list)
    classes: list[dict[str, Any]] = field(default_factory=list)
    lengths: dict[str, list[int]] = field(default_factory=dict)
    example: int | None = None
    collection: Collection | None = field(default=None, repr=False)

    def of(self, severity: str) -> list[Finding]:
        """The findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    @property
    def exit_status(self) -> int:
        """1 if there is an error, otherwise 0."""
        return int(bool(self.of('error')))

    @property
    def verdict(self) -> str:
        """One line, such as ``1 error, 2 warnings, 3 notes``."""
        counts = [(len(self.of(severity)), severity) for severity in SEVERITIES]
        return ', '.join(f'{n} {severity}{"s" * (n != 1)}' for n, severity in counts)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain types, for JSON."""
        names = [item.name for item in fields(self) if item.name not in ('findings', 'collection')]
        return {
            'verdict': self.verdict,
            'exit_status': self.exit_status,
            'findings': [asdict(finding) for finding in self.findings],
            **{name: getattr(self, name) for name in names},
        }
