"""Compiles the Triton kernels for a GPU on a machine without one: registers and shared memory."""

from bharnet_mm.io.command import run_command

if __name__ == '__main__':
    run_command('bharnet_mm.experiments.kernels')
