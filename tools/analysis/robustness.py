"""Measures the accuracy of trained models on damaged input."""

from bharnet_mm.experiments.robustness import main

if __name__ == '__main__':
    main()
