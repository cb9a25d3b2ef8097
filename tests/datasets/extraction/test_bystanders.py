import pytest
from fake_estimator import FakeEstimator, draw, moving

from bharnet_mm.datasets.extraction.bystanders import SECOND
from bharnet_mm.datasets.extraction.extract import extract_clip


class FollowsOne(FakeEstimator):
    """As MediaPipe: gives one body only, the other where that one is painted over."""

    def bodies(self, image):
        return super().bodies(image)[:1]


@pytest.mark.parametrize('persons', [1, 2])
def test_a_second_person_is_noticed(persons):
    noticed = []
    everybody = {
        (0, 'left'): (120, 30),
        (0, 'right'): (90, 30),
        (1, 'left'): (50, 30),
        (1, 'right'): (20, 30),
    }
    frames = [draw({key: xy for key, xy in everybody.items() if key[0] < persons})] * 30
    extract_clip(frames, FollowsOne(), 'a', noticed=noticed)
    assert noticed == [SECOND] * (persons - 1)


def test_where_all_are_followed_nobody_is_missing():
    noticed = []
    clip = extract_clip(moving(30, persons=2), FakeEstimator(), 'a', noticed=noticed)
    assert clip.num_persons == 2 and noticed == []
