"""Prints the diagnosis in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...io.names import shown
from .diagnosis import Diagnosis
from .survey import share_text

_STYLES = {'error': 'bold red', 'warning': 'yellow', 'note': 'cyan'}


def print_diagnosis(diagnosis: Diagnosis, console: Console | None = None) -> None:
    """Prints an overview, the splits, the findings and the verdict."""
    console = console or Console()
    for line in overview(diagnosis):
        console.print(shown(line), markup=False, highlight=False)
    if diagnosis.splits:
        console.print(_split_table(diagnosis))
    if diagnosis.findings:
        console.print(_finding_table(diagnosis))
    quiet = quiet_checks(diagnosis)
    if quiet:
        console.print(f'nothing found by: {", ".join(quiet)}', markup=False, highlight=False)
    style = 'bold red' if diagnosis.exit_status else 'bold green'
    console.print(f'{_result(diagnosis)}: {diagnosis.verdict}', style=style, highlight=False)


def _plain(text: str) -> str:
    return escape(shown(text))


def overview(diagnosis: Diagnosis) -> list[str]:
    """An overview of the data in a few lines."""
    lines = [f'{diagnosis.name} ({diagnosis.kind} {diagnosis.path})']
    total = diagnosis.totals
    if not total:
        return lines
    hands = total['hand_layout'] or 'none'
    lines.append(
        f'{total["clips"]:,} clips, {total["frames"]:,} frames, {total["classes"]} classes, '
        f'{total["subjects"] or "unknown"} subjects; bodies {total["body_layout"]}, hands {hands}'
    )
    line = f'frames without a person {share_text(total["missing_person"])}'
    if total['hand_layout']:
        line += (
            f', without left hand {share_text(total["missing_left"])}, right hand '
            f'{share_text(total["missing_right"])}, any hand {share_text(total["missing_hands"])}'
        )
    lines.append(line)
    if total['wrists_compared']:
        share = share_text(total['wrists_crossed'] / total['wrists_compared'])
        lines.append(
            f'of {total["wrists_compared"]:,} hands compared with the wrists of the body, {share} '
            'lie nearer to that of the other side'
        )
    return lines


def quiet_checks(diagnosis: Diagnosis) -> list[str]:
    """Names of the checks that found nothing."""
    loud = {finding.check for finding in diagnosis.findings}
    return [name for name in diagnosis.checks if name not in loud]


def _result(diagnosis: Diagnosis) -> str:
    return 'training or its result would be wrong' if diagnosis.exit_status else 'fit for training'


def _split_table(diagnosis: Diagnosis) -> Table:
    table = Table(title='splits', title_justify='left')
    for column in ('split', 'clips', 'classes', 'subjects', 'no person', 'no hand'):
        table.add_column(column, justify='left' if column == 'split' else 'right')
    for row in diagnosis.splits:
        shares = [share_text(row[key]) for key in ('missing_person', 'missing_hands')]
        numbers = [f'{row[key]:,}' for key in ('clips', 'classes', 'subjects')]
        table.add_row(_plain(row['name']), *numbers, *shares)
    return table


def _finding_table(diagnosis: Diagnosis) -> Table:
    table = Table(title='findings', title_justify='left', show_lines=True)
    table.add_column('')
    table.add_column('check')
    table.add_column('count', justify='right')
    table.add_column('what', ratio=3, overflow='fold')
    table.add_column('examples', ratio=2, overflow='fold')
    for finding in diagnosis.findings:
        style = _STYLES[finding.severity]
        table.add_row(
            f'[{style}]{finding.severity}[/]',
            finding.check,
            f'{finding.count:,}' if finding.count else '',
            _plain(finding.message) + (f'\n[dim]{_plain(finding.fix)}[/]' if finding.fix else ''),
            '\n'.join(map(_plain, finding.examples)),
        )
    return table
