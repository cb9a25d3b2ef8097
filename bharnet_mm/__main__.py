"""``python -m bharnet_mm`` is the ``bharnet`` command."""

from .cli import main

if __name__ == '__main__':
    main()
