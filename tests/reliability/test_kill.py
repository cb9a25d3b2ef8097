"""A few kills of a training and of what writes stores; ``make reliability`` does 200."""

import json
import sys
from pathlib import Path

import pytest
from command import run

HERE = Path(__file__).parent


def kill(tmp_path, kills, *subjects):
    """In a process of its own, which forks: pytest's may have threads."""
    report = tmp_path / 'kills.json'
    command = [sys.executable, '-W', 'ignore', HERE / 'kill.py', '--kills', kills]
    run(*command, '--json', report, '--subjects', *subjects)
    return json.loads(report.read_text())


def test_short(tmp_path):
    found = kill(tmp_path, 6, 'training', 'ntu', 'nucla', 'pku_mmd', 'pyskl', 'holistic')
    assert found['training']['kills'] == 6 and found['training']['runs'] > 0
    assert all(row['kills'] == 3 and row['runs'] > 0 for row in list(found.values())[1:])


@pytest.mark.long
def test_extraction(tmp_path):
    names = ['keypoints', 'synthetic', 'hands', 'jhmdb', 'regions', 'extraction', 'shards']
    found = kill(tmp_path, 20, *names, 'mediapipe', 'workers')
    assert [row['kills'] for row in found.values()] == [10] * 7 + [2, 2]


@pytest.mark.long
def test_soak():
    run(sys.executable, '-W', 'ignore', HERE / 'soak.py', '--minutes', 1)
