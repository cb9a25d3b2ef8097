"""The time of the host for a step on a GPU, on a machine without one."""

import re

import pytest
from command import run_tool

pytest.importorskip('triton')


def test_names_a_time_for_training_and_inference():
    text = run_tool('analysis/host_time.py', 'BHaRNet light', '--calls', '1')
    times = re.findall(r'BHaRNet light, (train|inference): ([0-9.]+) ms of the host', text)
    assert [mode for mode, _ in times] == ['train', 'inference']
    assert float(times[0][1]) > float(times[1][1]) > 0
