"""Measures the time that the host needs for a step on a GPU, on a machine without one."""

from bharnet_mm.io.command import run_command

if __name__ == '__main__':
    run_command('bharnet_mm.experiments.host_time')
