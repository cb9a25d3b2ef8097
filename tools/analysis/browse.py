"""Draws clips of a store as images."""

from bharnet_mm.experiments.browse import main

if __name__ == '__main__':
    main()
