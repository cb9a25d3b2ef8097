"""Cross-validates a config over the values of a field, such as the subject."""

from bharnet_mm.io.command import run_command

if __name__ == '__main__':
    run_command('bharnet_mm.experiments.cross_validation')
