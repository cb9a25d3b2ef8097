"""A table of the ways to read regions: grid or cells, weights, motion."""

from bharnet_mm.io.command import run_command

if __name__ == '__main__':
    run_command('bharnet_mm.experiments.compare_rgb')
