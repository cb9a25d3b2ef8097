"""Fuses score files by clip id, with intervals and paired tests."""

from bharnet_mm.io.command import run_command

if __name__ == '__main__':
    run_command('bharnet_mm.experiments.fuse')
