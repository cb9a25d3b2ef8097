"""Measures speed and memory of the networks."""

from bharnet_mm.io.command import run_command

if __name__ == '__main__':
    run_command('bharnet_mm.experiments.benchmark')
