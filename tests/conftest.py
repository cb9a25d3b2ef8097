import os
import subprocess
import sys

# Before numpy and torch start their threads: on a busy machine these cost far more than they give.
os.environ.setdefault('OMP_NUM_THREADS', '1')
# Before torch.compile imports triton, which reads it then: the kernels for CUDA run in its
# interpreter.
os.environ.setdefault('TRITON_INTERPRET', '1')

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from bharnet_mm.layouts import get_layout  # noqa: E402
from bharnet_mm.ops import native  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_scope_is_left():
    """A runner sets MMEngine's default scope for the whole process, hence for the next tests."""
    yield
    if 'mmengine.registry' in sys.modules:
        sys.modules['mmengine.registry'].DefaultScope._instance_dict.clear()


def _skeleton(layout, steps, rng):
    """A random pose (V, 3) along the bone tree, ``steps`` metres a bone."""
    pose = np.zeros((layout.num_joints, 3))
    directions = rng.normal(size=(layout.num_joints, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for joint in np.argsort(layout.hops, kind='stable'):
        parent = layout.parent_index[joint]
        if parent != joint:
            pose[joint] = pose[parent] + steps * directions[joint]
    return pose


def _track(pose, frames, amplitude, rng):
    """The pose moving smoothly, (T, V, 3)."""
    time = np.linspace(0, 1, frames)[:, None, None]
    phase, speed = rng.uniform(0, 2 * np.pi, pose.shape), rng.uniform(3, 9, pose.shape)
    return pose + amplitude * np.sin(speed * time + phase)


@pytest.fixture(scope='session')
def make_results():
    """Factory of what ``BodyHandDataset`` puts at the head of a pipeline; its arrays are read-only.

    The first person is there throughout, a second one from the second quarter on. Left hands miss a
    third of their frames in runs, right ones single frames. What is masked holds ``masked``.
    """

    def make(
        frames=50,
        persons=1,
        channels=3,
        seed=0,
        body_layout='kinect_v2',
        masked=np.nan,
        gaps=True,
        pixels=False,
    ):
        rng = np.random.default_rng(seed)
        layout, hand_layout = get_layout(body_layout), get_layout('hand')
        body = np.empty((persons, frames, layout.num_joints, 3))
        hand = np.empty((persons, 2, frames, hand_layout.num_joints, 3))
        body_visible = np.ones(body.shape[:2], dtype=bool)
        hand_visible = np.ones(hand.shape[:3], dtype=bool)
        for m in range(persons):
            place = np.array([0.8 * m, 0.1, 3.0])
            body[m] = _track(_skeleton(layout, 0.25, rng), frames, 0.05, rng) + place
            for side in range(2):
                offset = place + rng.normal(size=3) * 0.3
                hand[m, side] = (
                    _track(_skeleton(hand_layout, 0.03, rng), frames, 0.01, rng) + offset
                )
        if gaps:
            body_visible[1:, : frames // 4] = False
            body_visible[:, frames // 2 : frames // 2 + 2] = frames < 8
            hand_visible[:, 0] = np.arange(frames) // 6 % 3 > 0
            hand_visible[:, 1] = rng.random((persons, frames)) > 0.2
        results = dict(
            clip_id='S001C001P001R001A001',
            label=3,
            total_frames=frames,
            body=body[..., :channels].astype(np.float32),
            body_visible=body_visible,
            hand=hand[..., :channels].astype(np.float32),
            hand_visible=hand_visible,
            body_layout=layout,
            hand_layout=hand_layout,
            frame_index=np.arange(frames, dtype=np.int32) + 10,
            video='S001C001P001R001A001_rgb.avi',
            image_size=(1920, 1080),
            fps=30.0,
            body_pixel=None,
        )
        if pixels:
            results['body_pixel'] = (body[..., :2] * 200 + 900).astype(np.float32)
        for key in ('body', 'hand', 'body_pixel'):
            if results[key] is not None:
                visible = hand_visible if key == 'hand' else body_visible
                results[key][~visible] = masked
        for value in results.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        return results

    return make


@pytest.fixture
def native_kernels():
    """Skips a test of the kernels in C++ where they cannot be built."""
    try:
        native.build()
    except RuntimeError as error:
        pytest.skip(f'no native kernels: {error}')


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of one megabyte of its own; needs the right to mount."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip('no right to mount a small disk')
    yield folder
    subprocess.run(['umount', '-l', str(folder)], check=True)


@pytest.fixture(scope='session')
def exported(tmp_path_factory):
    """A small untrained P, exported: folder with tiny.py, untrained.pth, store, m.onnx and m.pt2,
    and what the command printed.
    """
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    from command import run_tool
    from tiny_export import write_untrained

    folder = tmp_path_factory.mktemp('export')
    config, checkpoint = write_untrained(folder)
    out = folder / 'm.onnx', folder / 'm.pt2'
    return folder, run_tool('export.py', config, checkpoint, '--out', *out, '--clips', 5)
