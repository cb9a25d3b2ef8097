import argparse
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bharnet_mm.apis import web
from bharnet_mm.apis.results import Label, Result
from bharnet_mm.errors import ConfigError
from bharnet_mm.layouts import get_layout


def a_result(video, unsure=False, read_frames=None):
    frames = 4
    return Result(
        labels=(Label('yes', 0.75), Label('no', 0.25)),
        experts=dict(body=(Label('no', 0.6),), hand=()),
        unsure=unsure,
        video=video,
        start=1.0,
        end=1.4,
        person=0,
        frame_index=np.arange(frames),
        body=np.full((frames, 17, 2), 20.0),
        body_score=np.ones(frames),
        hand=np.full((2, frames, 21, 2), np.nan),
        hand_score=np.zeros((2, frames)),
        layout=get_layout('coco'),
        read_frames=read_frames,
    )


def test_a_row_says_what_each_expert_says():
    assert web.row(a_result('a.mp4')) == ['1.0 - 1.4', '0', 'yes 75%', 'no 60%', '-', '-']
    assert web.row(a_result('a.mp4', unsure=True))[2] == 'unsure (yes 75%?)'


def test_a_video_comes_back_with_everybody_drawn_in(tmp_path):
    av = pytest.importorskip('av')
    images = [(i, np.full((64, 64, 3), 40, np.uint8)) for i in range(4)]
    result = a_result('a.mp4', read_frames=lambda: iter(images))
    drawn, said, labels, rows = web.recognize(lambda path, tick: iter([result]), 'a.mp4', tmp_path)
    assert Path(drawn).is_relative_to(tmp_path)
    assert said == 'yes 75%' and labels == {'yes': 0.75, 'no': 0.25} and len(rows) == 1
    with av.open(drawn) as container:
        frames = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    assert len(frames) == 4 and frames[0].shape == (64, 64, 3) and frames[0].std() > 5


def test_a_video_without_frames_is_told(tmp_path):
    with pytest.raises(ConfigError, match='no frame'):
        web.recognize(lambda path, tick: iter([]), 'a.mp4', tmp_path)


def test_the_page_builds(tmp_path):
    pytest.importorskip('gradio')
    infer = SimpleNamespace(card=SimpleNamespace(name='tiny'), classes=('yes', 'no'))
    page = web.build_page(infer, tmp_path)
    assert [f.api_name for f in page.fns.values()] == ['answer']


def test_without_gradio_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    parser = argparse.ArgumentParser()
    web.add_arguments(parser)
    with pytest.raises(ConfigError, match=r'\[web\]'):
        web.run(parser.parse_args([]))


def test_nothing_is_left_of_the_videos(monkeypatch):
    """Uploads and annotated videos lie in one folder, which goes with the command."""
    pytest.importorskip('gradio')
    seen = {}

    class Page:
        def launch(self, **options):
            seen['there'] = Path(os.environ['GRADIO_TEMP_DIR']).is_dir()
            raise KeyboardInterrupt

    def build_page(infer, folder):
        seen['folder'] = Path(folder)
        return Page()

    monkeypatch.setenv('GRADIO_TEMP_DIR', '')
    monkeypatch.setattr(web, 'build_page', build_page)
    infer = SimpleNamespace(card=SimpleNamespace(name='tiny'))
    monkeypatch.setattr('bharnet_mm.apis.inferencer.BodyHandInferencer', lambda *_, **__: infer)
    parser = argparse.ArgumentParser()
    web.add_arguments(parser)
    with pytest.raises(KeyboardInterrupt):
        web.run(parser.parse_args([]))
    assert seen['there'] and not seen['folder'].exists()
