"""Trains several configs alike and writes a table of them."""

from bharnet_mm.experiments.compare import main

if __name__ == '__main__':
    main()
