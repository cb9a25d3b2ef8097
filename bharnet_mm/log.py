"""Warnings from code that also runs without MMEngine."""

import logging
import sys

from .io.names import shown


def warn(message: str) -> None:
    """Logs a warning with MMEngine's logger if MMEngine is in use, otherwise with Python's."""
    message = shown(message)
    if 'mmengine' in sys.modules:
        from mmengine.logging import print_log

        print_log(message, logger='current', level=logging.WARNING)
    else:
        logging.getLogger('bharnet_mm').warning(message)
