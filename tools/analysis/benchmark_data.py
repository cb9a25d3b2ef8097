"""Measures how fast clips are read from a store."""

from bharnet_mm.experiments.benchmark_data import main

if __name__ == '__main__':
    main()
