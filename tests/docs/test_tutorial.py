"""The tutorial runs from its first cell to its last."""

import json
import os
import sys

import pytest
from command import ROOT, environment

NOTEBOOK = ROOT / 'docs/tutorial.ipynb'


def test_it_holds_no_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells']
    assert len(cells) > 5
    assert not [cell for cell in cells if cell.get('outputs') or cell.get('execution_count')]


@pytest.mark.long
def test_it_runs(tmp_path, monkeypatch):
    nbformat = pytest.importorskip('nbformat')
    nbclient = pytest.importorskip('nbclient')
    pytest.importorskip('ipykernel')
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    script = tmp_path / 'bin/bharnet'  # where the package is not installed, there is no command
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -W ignore -m bharnet_mm "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv('PATH', f'{script.parent}{os.pathsep}{os.environ["PATH"]}')
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = dict(metadata=dict(path=str(tmp_path)))
    nbclient.NotebookClient(notebook, timeout=1800, resources=resources).execute()
    said = ''.join(
        output.get('text', '') for cell in notebook.cells for output in cell.get('outputs', ())
    )
    assert '128 clips of 16 classes' in said
    assert 'body says' in said and 'hand says' in said and 'from torch' in said
    assert (tmp_path / 'model.onnx').is_file() and (tmp_path / 'work/last_checkpoint').is_file()
