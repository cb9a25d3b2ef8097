"""Version of the package. It is written only here; ``setup.py`` reads this file."""

__version__ = '0.1.0'
