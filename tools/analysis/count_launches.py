"""Counts the kernels that a step would launch on a GPU, on a machine without one."""

from bharnet_mm.io.command import run_command

if __name__ == '__main__':
    run_command('bharnet_mm.experiments.launches')
