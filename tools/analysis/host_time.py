"""Measures the time that the host needs for a step on a GPU, on a machine without one."""

from bharnet_mm.experiments.host_time import main

if __name__ == '__main__':
    main()
