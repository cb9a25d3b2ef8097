import numpy as np
import pytest

from bharnet_mm.apis.region_figure import save_regions
from bharnet_mm.datasets.synthetic.gestures import GESTURES
from bharnet_mm.datasets.synthetic.sample import SyntheticSample
from bharnet_mm.datasets.synthetic.videos import write_videos
from bharnet_mm.errors import ClipError, SourceError
from bharnet_mm.layouts import get_layout

BODY = get_layout('kinect_v2')


def test_draws_frames_and_grid(tmp_path):
    import matplotlib.image

    sample = SyntheticSample(classes=[GESTURES[12]], clips_per_class=1)
    write_videos(tmp_path, sample, workers=0)
    clip = sample.clip(0, 0)
    save_regions(tmp_path / 'with.png', clip, BODY, tmp_path)
    image = matplotlib.image.imread(tmp_path / 'with.png')[..., :3]
    red = (np.abs(image - np.array([220, 30, 30]) / 255).max(axis=-1) < 0.15).sum()
    assert red > 500, 'the ball, enlarged'
    with pytest.raises(SourceError, match='no folder'):
        save_regions(tmp_path / 'x.png', sample.clip(0, 0), BODY, tmp_path / 'none')
    clip.body_score[:] = 0
    with pytest.raises(ClipError, match='nobody'):
        save_regions(tmp_path / 'x.png', clip, BODY, tmp_path)
