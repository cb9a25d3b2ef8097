import numpy as np
import pytest

from bharnet_mm.datasets.transforms import SelectJoints
from bharnet_mm.errors import LayoutError
from bharnet_mm.layouts import get_layout


def test_joints_by_name(make_results):
    results = make_results(body_layout='mediapipe_pose', masked=0.0, pixels=True)
    upper = get_layout('mediapipe_upper_body')
    transform = SelectJoints('mediapipe_upper_body')
    for _ in range(2):
        output = transform(results)
        assert output['body_layout'] is upper
        for i, joint in enumerate(upper.joints):
            j = results['body_layout'].index(joint)
            for key in ('body', 'body_pixel'):
                np.testing.assert_array_equal(output[key][:, :, i], results[key][:, :, j])
    coco = make_results(body_layout='coco')
    with pytest.raises(LayoutError, match='mouth_left'):
        transform(coco)
    np.testing.assert_array_equal(transform(results)['body'], output['body'])


def test_unknown_layout():
    with pytest.raises(LayoutError, match="'kinect'"):
        SelectJoints('kinect')
