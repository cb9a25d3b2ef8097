"""Counts the operators that a network dispatches and the bytes that they move."""

from bharnet_mm.experiments.operators import main

if __name__ == '__main__':
    main()
