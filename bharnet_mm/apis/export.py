"""``bharnet export``: a trained model as a file that needs neither torch nor MMAction2."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..io.arguments import integer
from ..io.names import shown
from ..io.outputs import output_file
from ..io.packages import check_installed

if TYPE_CHECKING:  # the rest is imported when the command runs: --help needs none of it
    from ..datasets import Clip, ClipStore

FORMATS = ('.onnx', '.pt2')

DESCRIPTION = """Write a trained model as ONNX (.onnx) or as a torch.export program (.pt2), compare
it with the model in torch on real clips, and print onnxruntime's latency."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``bharnet export``."""
    parser.add_argument(
        'model', help='config, work folder, published file, or name of a shipped model'
    )
    parser.add_argument('checkpoint', nargs='?', help='the weights, for a config')
    parser.add_argument(
        '--out',
        nargs='+',
        required=True,
        metavar='FILE',
        type=output_file,
        help='what to write: .onnx, .pt2 or both',
    )
    parser.add_argument(
        '--data', metavar='STORE', help="clips to compare on; by default the config's test clips"
    )
    parser.add_argument('--clips', type=integer(1), default=16, help='how many (default: 16)')
    parser.add_argument(
        '--threads', type=integer(1), default=1, help="onnxruntime's, for the latency"
    )


def run(args: argparse.Namespace) -> None:
    """Exports, compares each file with the model on real clips, and prints onnxruntime's latency.

    Raises:
        ConfigError: A wrong argument, or a model that cannot be exported.
        BHaRNetError: A file differs from the model by more than 1e-4; it is not written.
    """
    from ..errors import ConfigError
    from ..io.atomic import copy_whole

    for out in args.out:
        check_format(out)
    store, split, regions = data_for_check(args.model, args.data)
    import numpy as np

    from .export_check import TOLERANCE, check, latency
    from .export_graph import export
    from .exported import load_exported
    from .recognizer import TorchRecognizer, fit_clip, load_recognizer

    recognizer = load_recognizer(args.model, args.checkpoint, 'cpu')
    if not isinstance(recognizer, TorchRecognizer):
        raise ConfigError(args.model, 'an exported file', 'a trained model', 'export the original')
    model, card = recognizer.model, recognizer.card
    clips = [
        fit_clip(clip, store.body_layout, store.channels, card)
        for clip in some_clips(store, split, args.clips)
    ]
    with tempfile.TemporaryDirectory() as folder:
        # A file that differs from the model must not take the place of an earlier one.
        made = [Path(folder, str(i), Path(out).name) for i, out in enumerate(args.out)]
        # Both take minutes for M, and would look like a program that hangs.
        print(shown(f'exporting {args.model}; this can take some minutes'), flush=True)
        export(model, card, clips[0], made)
        for file, path in zip(made, args.out, strict=True):
            exported = load_exported(file, threads=args.threads, **regions)
            exported.path = Path(path)  # for messages
            print(shown(f'comparing {path} with torch on {len(clips)} clips'), flush=True)
            differences = check(model, exported, clips)
            worst = max(differences, key=differences.get)
            size = copy_whole(file, path)
            print(
                f'{path}: {size / 1e6:.1f} MB, at most {differences[worst]:.1e} from torch '
                f'({worst}; {TOLERANCE:g} allowed), {len(clips)} clips of {store.path.name} '
                f'in {len(differences)} cases'
            )
            if file.suffix == '.onnx':
                p50, p99 = np.percentile(latency(exported, clips[0]), (50, 99))
                threads = f'{args.threads} thread{"s" * (args.threads > 1)}'
                print(f'onnxruntime, one clip, {threads}: p50 {p50:.2f} ms, p99 {p99:.2f} ms')


def check_format(path: str | os.PathLike) -> str:
    """The ending of a path.

    Raises:
        ConfigError: The format cannot be written, or a package for it is not installed.
    """
    from ..errors import ConfigError

    suffix = Path(path).suffix
    if suffix not in FORMATS:
        raise ConfigError(f'{path}', f'the ending {suffix!r}', f'one of {FORMATS}', 'rename it')
    if suffix == '.onnx':
        check_installed(f'{path}', 'onnx', 'onnxscript', 'onnxruntime')
    return suffix


def data_for_check(source: str, data: str | None = None) -> tuple[ClipStore, Any, dict[str, str]]:
    """Clips for the comparison of an exported model.

    Args:
        source: Source of the model. A config or a work folder has the path of its clips.
        data: Path of a clip store, used in place of that.

    Returns:
        The store, the split of it (None: all clips), and for a model with images where these
        are, if they are at hand.

    Raises:
        ConfigError: There is no such store.
    """
    from ..datasets import ClipStore
    from ..errors import ConfigError

    dataset, regions = {}, {}
    path = Path(source)
    configs = sorted(path.glob('*.py')) if path.is_dir() else [path] * (path.suffix == '.py')
    if len(configs) == 1 and configs[0].is_file():
        from mmengine.config import Config

        dataset = Config.fromfile(configs[0]).test_dataloader.dataset
        cut = dataset.get('regions') or {}
        regions = {k: cut[k] for k in ('data_root', 'store') if Path(str(cut.get(k))).is_dir()}
    found = data or dataset.get('store')
    if found is None or not Path(found).is_dir():
        raise ConfigError(
            'bharnet export',
            f'no clip store {found}' if found else f'no clips: {source} names no store',
            'real clips to compare the exported file on',
            'name a store with --data',
        )
    return ClipStore(found), None if data else dataset.get('split'), regions


def some_clips(store: ClipStore, split: Any, count: int) -> list[Clip]:
    """At most ``count`` clips of a split, evenly spread over it."""
    import numpy as np

    indices = store.select(split)
    chosen = np.linspace(0, len(indices) - 1, min(count, len(indices))).round().astype(int)
    return [store[int(indices[i])] for i in chosen]
