"""Counts the operators that a network dispatches and the bytes that they move."""

from bharnet_mm.io.command import run_command

if __name__ == '__main__':
    run_command('bharnet_mm.experiments.operators')
