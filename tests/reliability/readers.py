"""What reads files from elsewhere, and how the files are made that it is tried with."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

TESTS = Path(__file__).resolve().parents[1]
for place in ('reliability', 'datasets/extraction', '.'):
    sys.path.insert(0, str(TESTS / place))
import formats  # noqa: E402
from own_files import own_files  # noqa: E402

from bharnet_mm.apis.model_card import CARD_KEY, ModelCard, read_card  # noqa: E402
from bharnet_mm.apis.model_zoo import trained_folder  # noqa: E402
from bharnet_mm.apis.recognizer import TorchRecognizer, load_recognizer  # noqa: E402
from bharnet_mm.apis.training_curve import read_training_curve  # noqa: E402
from bharnet_mm.datasets import Clip, ClipStore  # noqa: E402
from bharnet_mm.datasets.sources.jhmdb import read_splits  # noqa: E402
from bharnet_mm.datasets.store.regions import RegionStore  # noqa: E402
from bharnet_mm.datasets.video import available_readers, open_video  # noqa: E402
from bharnet_mm.errors import BHaRNetError  # noqa: E402
from bharnet_mm.evaluation.foreign_scores import read_scores  # noqa: E402
from bharnet_mm.evaluation.scores import save_scores  # noqa: E402
from bharnet_mm.io.guard import reading  # noqa: E402
from bharnet_mm.io.program import load_program  # noqa: E402
from bharnet_mm.io.safe_pickle import load_pickle  # noqa: E402
from bharnet_mm.io.weights import load_weights  # noqa: E402
from bharnet_mm.runtime.recognizer import INPUTS_KEY  # noqa: E402

ROOT = TESTS.parent
_TOOLS = ('ntu', 'nucla', 'pku_mmd', 'pyskl', 'holistic', 'keypoints')


class Reader(NamedTuple):
    """What is fuzzed: how its files are made, and how a folder with them is read.

    ``forked`` readers hand the file to a library in C, which may crash or hang where no signal is
    heard: their cases are read in another process.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    forked: bool = False


def tool_module(name: str) -> Any:
    """A script of tools/data as a module."""
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / f'tools/data/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tool(name: str) -> Callable[[Path], object]:
    """What calls a converter on a source."""
    module = tool_module(name)

    def read(source: Path) -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            module.command(formats.arguments(name, source, source.parent / 'out'))

    return read


def read_store(folder: Path) -> None:
    store = ClipStore(folder)
    list(store.clip_ids)
    for split in [None, *store.splits]:
        with contextlib.suppress(BHaRNetError):
            store.select(split)
    for i in range(len(store)):
        with contextlib.suppress(BHaRNetError):
            store[i].validate(store.body_layout, store.hand_layout, len(store.classes))
    store.verify()


def read_region_store(folder: Path) -> None:
    store = RegionStore(folder)
    for clip_id in store.clip_ids:
        with contextlib.suppress(BHaRNetError):
            store.read(clip_id, 1)
    store.verify()


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _make_scores(path: Path) -> Path:
    logits = {'body': np.random.default_rng(0).normal(size=(4, 3))}
    save_scores(path, list('abcd'), [0, 1, 2, 0], logits, ['x', 'y', 'z'])
    return path


def _make_dump(path: Path) -> Path:
    import pickle

    rows = [
        dict(pred_score=torch.rand(3), gt_label=torch.tensor([i % 3]), frame_dir=f'clip{i}')
        for i in range(3)
    ]
    return _write(path, pickle.dumps(rows))


def _make_checkpoint(path: Path) -> Path:
    from mmengine.logging import MessageHub

    hub = MessageHub('fuzz')
    hub.update_scalar('train/loss', 0.5)
    state = torch.nn.BatchNorm1d(3).state_dict()
    meta = dict(epoch=1, iter=4, cfg='x = 1')
    torch.save(dict(meta=meta, state_dict=state, message_hub=hub.state_dict()), path)
    return path


def _make_safetensors(path: Path) -> Path:
    from safetensors.torch import save_file

    save_file({'a': torch.rand(3, 2), 'b': torch.arange(4)}, path, {'classes': 'x'})
    return path


def _make_pickle(path: Path) -> Path:
    return _write(path, formats.annotations(2))


def readers() -> dict[str, Reader]:
    """All readers by name."""
    tools = {name: tool(name) for name in _TOOLS}

    def nucla(form: str, suffix: str) -> Reader:
        make = lambda folder: formats.write_nucla(folder / f'nucla{suffix}', form)  # noqa: E731
        return Reader(make, tools['nucla'])

    own = {name: Reader(make, read or tools['nucla']) for name, (make, read) in own_files().items()}
    return own | {
        'pickle': Reader(lambda f: _make_pickle(f / 'a.pkl'), load_pickle),
        'annotations': Reader(lambda f: formats.write_pyskl(f / 'a.pkl'), tools['pyskl']),
        'scores npz': Reader(lambda f: _make_scores(f / 'a.npz'), read_scores),
        'scores of MMAction2': Reader(lambda f: _make_dump(f / 'a.pkl'), read_scores),
        'checkpoint': Reader(lambda f: _make_checkpoint(f / 'a.pth'), load_weights),
        'safetensors': Reader(lambda f: _make_safetensors(f / 'a.safetensors'), load_weights),
        'ntu': Reader(lambda f: formats.write_ntu(f / 'ntu', 3), tools['ntu']),
        'nucla': nucla('folder', ''),
        'nucla zip': nucla('zip', '.zip'),
        'nucla tgz': nucla('tgz', '.tgz'),
        'pku_mmd': Reader(lambda f: formats.write_pku(f / 'pku'), tools['pku_mmd']),
        'holistic npz': Reader(
            lambda f: formats.write_holistic(f / 'a.npz', 'npz'), tools['holistic']
        ),
        'holistic npy': Reader(lambda f: formats.write_holistic(f / 'tree'), tools['holistic']),
        'openpose': Reader(lambda f: formats.write_openpose(f / 'op'), tools['keypoints']),
        'clip store': Reader(lambda f: formats.write_store(f / 'store'), read_store),
        'region store': Reader(lambda f: formats.write_regions(f / 'regions'), read_region_store),
        'mediapipe tasks': Reader(lambda f: formats.write_tasks(f / 'tasks'), tools['keypoints']),
        'jhmdb splits': Reader(
            lambda f: formats.write_jhmdb_splits(f / 'splits', ['a/x', 'a/y', 'b/z', 'b/w']),
            read_splits,
        ),
        'shards': Reader(_make_shards, _read_shards),
        'training log': Reader(_make_log, read_training_curve),
        'model card': Reader(_make_card, _read_card),
        'published model': Reader(_make_published, _read_model, forked=True),
        'onnx': Reader(_make_onnx, _read_model, forked=True),
        'pt2': Reader(_make_program, lambda path: load_program(path), forked=True),
        'video avi': Reader(lambda f: _make_video(f / 'a.avi'), _read_video, forked=True),
        'video mp4': Reader(lambda f: _make_video(f / 'a.mp4'), _read_video, forked=True),
    }


def _make_shards(folder: Path) -> Path:
    """Two shards of an extraction, of which none has found a video that can be read."""
    from fake_estimator import BACKEND, moving, write_video

    from bharnet_mm.datasets.extraction.output import Settings
    from bharnet_mm.datasets.extraction.runner import extract

    for name in ('a/x', 'b/y'):
        write_video(folder / f'out/videos/{name}.avi', moving(2))
    for i in (1, 2):
        settings = Settings(backend=BACKEND)
        extract(folder / 'out/videos', folder / 'out', settings, workers=0, shard=(i, 2))
    return folder / 'out'


def _read_shards(folder: Path) -> None:
    from bharnet_mm.datasets.extraction.output import merge

    merge(folder / 'videos', folder)


def _make_log(folder: Path) -> Path:
    rows = [{'loss': 0.5, 'loss_body': 0.2, 'iter': i, 'epoch': 1 + i // 3} for i in range(1, 7)]
    rows += [{'acc/top1': 0.5, 'step': 1}, {'acc/top1': 0.75, 'step': 2}]
    path = folder / 'work/1/vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return folder / 'work'


def _shipped() -> Path:
    return trained_folder() / 'bharnet_light_asl10.safetensors'


def _warm_up() -> None:
    """Imports what a model needs and builds its kernels, which is not the doing of a file."""
    _read_model(_shipped())


def _make_card(folder: Path) -> Path:
    _warm_up()
    return _write(folder / 'card.json', read_card(_shipped()).to_json().encode())


def _clip() -> Clip:
    rng = np.random.default_rng(0)
    body, hand = rng.normal(size=(1, 9, 33, 3)), rng.normal(size=(1, 2, 9, 21, 3))
    seen = np.ones((1, 9), np.float32), np.ones((1, 2, 9), np.float32)
    body, hand = body.astype(np.float32), hand.astype(np.float32)
    return Clip('a', 0, body, seen[0], hand, seen[1], np.arange(9, dtype=np.int32))


_STATE: dict = {}


def _read_card(path: Path) -> None:
    """A card, and the model of it with the shipped weights, which then judges a clip."""
    if not _STATE:
        _STATE.update(load_weights(_shipped())['state_dict'])
    with reading(path, 'text', error=BHaRNetError):
        text = path.read_text(encoding='utf-8')
    card = ModelCard.from_json(text, str(path))
    card.describe()
    TorchRecognizer(card, _STATE, 'cpu').predict([_clip()])


def _make_published(folder: Path) -> Path:
    _warm_up()
    return _write(folder / 'm.safetensors', _shipped().read_bytes())


def _read_model(path: Path) -> None:
    load_recognizer(path, device='cpu').predict([_clip()])


def _make_onnx(folder: Path) -> Path:
    """A graph that averages the body, with the card of the shipped model."""
    from onnx import TensorProto, helper, save_model

    card = read_card(_shipped())
    names = ('body', 'body_mask', 'hand', 'hand_mask')
    shapes = ([1, 'frames', 33, 3], [1, 'frames'], [2, 'frames', 21, 3], [2, 'frames'])
    inputs = [
        helper.make_tensor_value_info(
            name, TensorProto.BOOL if 'mask' in name else TensorProto.FLOAT, ['n', *shape]
        )
        for name, shape in zip(names, shapes, strict=True)
    ]
    classes = len(card.classes)
    ones = helper.make_tensor('ones', TensorProto.FLOAT, [1, classes], [1.0] * classes)
    nodes = [
        helper.make_node('ReduceMean', ['body'], ['mean'], axes=[2, 3, 4], keepdims=0),
        helper.make_node('Mul', ['mean', 'ones'], ['body_logits']),
        helper.make_node('Softmax', ['body_logits'], ['pred_score'], axis=1),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ['n', classes])
        for name in ('body_logits', 'pred_score')
    ]
    graph = helper.make_graph(nodes, 'g', inputs, outputs, [ones])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8)
    steps = [dict(type='FormatBodyHand', num_persons=1)]
    card = dataclasses.replace(card, pipeline=steps)
    meta = {CARD_KEY: card.to_json()}
    meta[INPUTS_KEY] = json.dumps(dict(zip(names, shapes, strict=True)))
    helper.set_model_props(model, meta)
    save_model(model, folder / 'm.onnx')
    return folder / 'm.onnx'


def _make_program(folder: Path) -> Path:
    size = torch.export.Dim('n', min=1, max=9)
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())
    program = torch.export.export(module, (torch.ones(2, 3),), dynamic_shapes=({0: size},))
    torch.export.save(program, folder / 'm.pt2', extra_files={CARD_KEY: 'x', INPUTS_KEY: '{}'})
    return folder / 'm.pt2'


def _make_video(path: Path) -> Path:
    """In a process of its own: encoders leave threads behind, and forks should have none."""
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1) as pool:
        pool.submit(_encode, path).result()
    for name in available_readers():  # imported once, not in each process
        importlib.import_module({'pyav': 'av'}.get(name, name))
    return path


def _encode(path: Path) -> None:
    from everyday import encode
    from videos import write_video

    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (32, 48, 3), np.uint8) for _ in range(6)]
    (encode if path.suffix == '.mp4' else write_video)(path, frames)


def _read_video(path: Path) -> None:
    """All frames by each reader alone, then the way the extraction reads; as a gradio upload is."""
    ways: Sequence = [*([name] for name in available_readers()), None]
    for readers in ways:
        with contextlib.suppress(BHaRNetError):
            for count, _ in enumerate(open_video(path, readers)[1]):
                assert count < 10**4, 'frames without end'
