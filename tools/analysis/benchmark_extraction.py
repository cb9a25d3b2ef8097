"""Measures the CPU time of extraction from videos, by stage, and its yield."""

from bharnet_mm.experiments.benchmark_extraction import main

if __name__ == '__main__':
    main()
