"""Measures speed and memory of the networks."""

from bharnet_mm.io.command import run_command


def __getattr__(name: str):
    """For programs that import this file: the networks and batches that it measures."""
    from bharnet_mm.experiments import contenders

    return getattr(contenders, name)


if __name__ == '__main__':
    run_command('bharnet_mm.experiments.benchmark')
