"""Trains several configs alike and writes a table of them."""

from bharnet_mm.io.command import run_command

if __name__ == '__main__':
    run_command('bharnet_mm.experiments.compare')
