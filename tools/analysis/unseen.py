"""Accuracy on the test clips whose content is not in the training split."""

from bharnet_mm.io.command import run_command

if __name__ == '__main__':
    run_command('bharnet_mm.experiments.unseen')
