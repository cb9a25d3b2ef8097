"""Examines a clip store or an annotation pickle: ``python tools/data/doctor.py STORE_OR_PKL``."""

from bharnet_mm.cli import run_module

if __name__ == '__main__':
    run_module('doctor')
