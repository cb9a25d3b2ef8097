"""Measures speed and memory of the networks."""

from bharnet_mm.experiments.benchmark import main
from bharnet_mm.experiments.contenders import contenders, make_batch, to_device

__all__ = ['contenders', 'main', 'make_batch', 'to_device']

if __name__ == '__main__':
    main()
