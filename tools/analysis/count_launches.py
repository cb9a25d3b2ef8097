"""Counts the kernels that a step would launch on a GPU, on a machine without one."""

from bharnet_mm.experiments.launches import main

if __name__ == '__main__':
    main()
