"""Measures how fast regions are cut from videos or read from a region store."""

from bharnet_mm.experiments.benchmark_regions import main

if __name__ == '__main__':
    main()
