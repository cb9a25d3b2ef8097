"""Numbers of the command line: values, ranges, and that every command uses them."""

import argparse
import re
from pathlib import Path

import pytest

from bharnet_mm.io.arguments import decimal, integer, seed_number

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ('read', 'text', 'value'),
    [
        (integer(), '-3', -3),
        (integer(1), '1', 1),
        (integer(1, 2), '2', 2),
        (decimal(0, 1), '1', 1.0),
        (decimal(above=0), '1e-9', 1e-9),
        (seed_number, '4294967295', 2**32 - 1),
    ],
)
def test_numbers_that_are_taken(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ('read', 'text', 'said'),
    [
        (integer(1), '0', "found '0'; expected a whole number, 1 or more"),
        (integer(1, 2), '3', 'a whole number from 1 to 2'),
        (integer(), '1.5', 'a whole number'),
        (integer(), 'many', 'a whole number'),
        (decimal(0, 1), '7', 'a number from 0 to 1'),
        (decimal(above=0), '0', 'a number above 0'),
        (decimal(above=0, most=1), '1.5', 'a number above 0, 1 or less'),
        (decimal(), 'nan', 'a number'),
        (decimal(), 'inf', 'a number'),
        (decimal(), '', 'a number'),
        (seed_number, '-1', 'from 0 to 4294967295'),
    ],
)
def test_numbers_that_are_refused(read, text, said):
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(said)):
        read(text)


def test_every_command_says_the_range_of_its_numbers():
    """An argument that is only ``int`` or ``float`` takes numbers that no command can use."""
    files = [*(ROOT / 'bharnet_mm').rglob('*.py'), *(ROOT / 'tools').rglob('*.py')]
    assert len(files) > 100
    plain = re.compile(r'^.*\btype=(?:int|float)\b.*$', re.MULTILINE)
    for file in files:
        lines = [
            line
            for line in plain.findall(file.read_text(encoding='utf-8'))
            if 'dtype' not in line and '--local_rank' not in line  # set by the launcher
        ]
        assert not lines, f'{file.relative_to(ROOT)}: {lines}'
