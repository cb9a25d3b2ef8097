"""Measures the CPU time of extraction from videos, by stage, and its yield."""

from bharnet_mm.io.command import run_command

if __name__ == '__main__':
    run_command('bharnet_mm.experiments.benchmark_extraction')
