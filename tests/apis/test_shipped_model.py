"""The trained model of the package, on real videos where they are at hand."""

from pathlib import Path

import pytest

from bharnet_mm import BodyHandInferencer, list_models
from bharnet_mm.apis.model_card import read_card
from bharnet_mm.apis.model_zoo import trained_folder
from bharnet_mm.apis.recognizer import load_recognizer

VIDEOS = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'videos'


@pytest.mark.parametrize('name', list_models(True))
def test_card_and_weights(name):
    path = trained_folder() / f'{name}.safetensors'
    card = read_card(path)
    assert path.stat().st_size <= 1e6 and path.with_suffix('.md').is_file()
    assert card.name == name and card.data and card.licence and card.protocol and card.limits
    assert 0 < card.unsure_below < 1 and card.temperature > 0
    assert load_recognizer(name, device='cpu').classes == card.classes


@pytest.mark.long
@pytest.mark.skipif(not VIDEOS.is_dir(), reason='needs ../shared/data/videos')
def test_signs_of_other_people():
    pytest.importorskip('mediapipe')
    infer = BodyHandInferencer('bharnet_light_asl10')
    words = ('yes', 'thanks', 'help', 'learn', 'milk')
    said = {word: [r.label for r in infer(VIDEOS / f'{word}.mkv')] for word in words}
    known = dict(yes=['yes'], thanks=['thank-you'])
    assert said == known | dict.fromkeys(('help', 'learn', 'milk'), ['unsure'])
