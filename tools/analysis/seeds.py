"""Mean and spread of the accuracy over the score files of several seeds."""

from bharnet_mm.io.command import run_command

if __name__ == '__main__':
    run_command('bharnet_mm.experiments.seeds')
