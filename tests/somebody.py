"""Somebody else, who has no right of root."""

import contextlib
import os
import tempfile
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.getuid() != 0, reason='needs the right to become somebody else')


@contextlib.contextmanager
def somebody_else(tmp_path: Path):
    """Another user for a while, who may read what is in ``tmp_path``.

    pytest's own folders above it, of which there is one more under xdist, are closed to others.
    """
    top = Path(tempfile.gettempdir())
    for folder in (tmp_path, *tmp_path.parents):
        if folder == top or top not in folder.parents:
            break
        folder.chmod(folder.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
