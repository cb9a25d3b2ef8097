"""Measures how fast regions are cut from videos or read from a region store."""

from bharnet_mm.io.command import run_command

if __name__ == '__main__':
    run_command('bharnet_mm.experiments.benchmark_regions')
