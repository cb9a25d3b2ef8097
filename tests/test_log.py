import logging
import subprocess
import sys
from pathlib import Path

from bharnet_mm.log import warn


def test_with_mmengine_it_is_a_warning_of_its_current_logger(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'mmengine.logging.print_log',
        lambda text, logger, level: lines.append((text, logger, level)),
    )
    warn('two clips without hands')
    assert lines == [('two clips without hands', 'current', logging.WARNING)]


def test_without_mmengine_it_is_a_warning_of_pythons_logging():
    # A stand-in for the package, because the real one imports MMEngine.
    code = (
        'import sys, types; package = types.ModuleType("bharnet_mm"); '
        f'package.__path__ = [{str(Path(__file__).parents[1] / "bharnet_mm")!r}]; '
        'sys.modules["bharnet_mm"] = package; from bharnet_mm.log import warn; '
        'warn("two clips without hands"); assert "mmengine" not in sys.modules'
    )
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == 'two clips without hands'
