"""Measures parity, speed, memory and launches on a GPU within six minutes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # from a checkout, without installing

from bharnet_mm.io.command import run_command  # noqa: E402

if __name__ == '__main__':
    run_command('bharnet_mm.experiments.gpu_check')
