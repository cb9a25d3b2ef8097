"""Compiles the Triton kernels for a GPU on a machine without one: registers and shared memory."""

from bharnet_mm.experiments.kernels import main

if __name__ == '__main__':
    main()
