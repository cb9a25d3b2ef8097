"""A table of the ways to read regions: grid or cells, weights, motion."""

from bharnet_mm.experiments.compare_rgb import main

if __name__ == '__main__':
    main()
