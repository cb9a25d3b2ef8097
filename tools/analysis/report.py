"""Writes an HTML page about a trained model."""

from bharnet_mm.experiments.report import main

if __name__ == '__main__':
    main()
