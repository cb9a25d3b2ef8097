"""A recognizer that needs no training, and an estimator that needs no pose library."""

import numpy as np

from bharnet_mm.apis.model_card import ModelCard
from bharnet_mm.apis.recognizer import Recognizer
from bharnet_mm.datasets.extraction.estimators import BodyPose, HandPose
from bharnet_mm.layouts import get_layout

COCO = get_layout('coco')
CARD = ModelCard(
    name='fake',
    model={'type': 'BHaRNet'},
    pipeline=[{'type': 'FormatBodyHand', 'num_persons': 1}],
    classes=('none', 'left', 'right'),
    none_classes=('none',),
    body_layout='coco',
    channels={'body': ('x', 'y'), 'hand': ('x', 'y')},
    temperature=2.0,
    unsure_below=0.5,
    window=1.0,
)


class FakeRecognizer(Recognizer):
    """Says whether the nose is left or right, as sure as it is far from the middle."""

    def __init__(self, card=CARD):
        super().__init__(card)
        self.clips = []

    def scores(self, clips):
        self.clips += clips
        fused = []
        for clip in clips:
            seen = clip.body_score > 0
            x = clip.body[seen][:, 0, 0].mean() if seen.any() else 0.5
            fused.append([0, 20 * (0.5 - x), 20 * (x - 0.5)])
        fused = np.array(fused, np.float64)
        hands = [(clip.hand_score > 0).any() for clip in clips]
        hand = np.where(np.array(hands)[:, None], fused, np.nan)
        return {'fused': fused, 'body': fused, 'hand': hand}


class SquareEstimator:
    """One body around each white square, and a right hand where the square has a red corner."""

    body_layout = 'coco'
    body_channels = ('x', 'y')
    hand_channels = ('x', 'y', 'z')

    def start(self):
        pass

    def bodies(self, image):
        white = (image > 200).all(axis=-1)
        out = []
        for half in (slice(0, image.shape[1] // 2), slice(image.shape[1] // 2, None)):
            ys, xs = np.nonzero(white[:, half])
            if len(xs):
                center = np.array([xs.mean() + (half.start or 0), ys.mean()])
                spread = np.linspace(-1, 1, COCO.num_joints)[:, None] * [10, 20]
                out.append(BodyPose(center + spread, np.ones(COCO.num_joints), 0.9))
        return out

    def hands(self, image, arms, taken=()):
        red = (image[..., 0] > 200) & (image[..., 1] < 60)
        ys, xs = np.nonzero(red)
        if not len(xs):
            return []
        points = np.zeros((21, 3))
        points[:, :2] = [xs.mean(), ys.mean()]
        points[1:, :2] += np.random.default_rng(0).normal(size=(20, 2)) * 4
        return [HandPose(points, 0.9, 1.0)]


def frame(*xs, height=120, width=200):
    """A grey picture with a white square at each x."""
    image = np.full((height, width, 3), 60, np.uint8)
    for x in xs:
        image[50:70, x - 10 : x + 10] = 255
    return image
