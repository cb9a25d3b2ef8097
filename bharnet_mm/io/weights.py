"""Loads weights from files, URLs and names in MMEngine's tables."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError, ConfigError
from .archive import check_stored
from .atomic import atomic_write, remove_left_overs
from .cache import cache_folder, file_sha256, is_sealed, seal
from .guard import reading
from .text import parse_json

_EXPECTED = 'weights, as safetensors or written by torch.save, of plain types and tensors'
_FIX = 'download or train it again; a file that asks for anything else could run code'
_TIMEOUT = 60  # seconds without a byte


def load_weights(
    source: str | os.PathLike,
    map_location: str | torch.device | Callable | None = 'cpu',
    sha256: str | None = None,
) -> dict[str, Any]:
    """Loads a checkpoint without ever running code from it.

    Takes a path, an ``http(s)://`` URL, a name of MMEngine's tables (``torchvision://resnet50``,
    ``open-mmlab://``, ``mmcls://``), or a URL of a storage that MMEngine's file backends read
    (``s3://``). A download is kept in the user's cache folder under the whole URL, with its
    checksum, and is downloaded again if it was damaged. safetensors files are recognized by their
    content; torch's files are read with ``weights_only=True``.

    Args:
        source: Where the checkpoint is. A URL may end in ``#sha256=...``.
        map_location: As in :func:`torch.load`.
        sha256: What the file's SHA-256 must begin with, at least 8 digits.

    Returns:
        The checkpoint. For a safetensors file this is ``{'state_dict': ..., 'meta': ...}`` with the
        file's metadata, otherwise the saved object.

    Raises:
        CheckpointError: The file does not exist, there is no connection, the checksum differs, the
            file is damaged or asks for a class that is not plain data, or weights are not finite.
    """
    source = os.path.expanduser(str(source))
    scheme = re.match(r'([\w.+-]+):(?=.*//)', source)
    if scheme is None:
        return _load_file(source, map_location, sha256)
    if scheme[1] in ('http', 'https'):
        return _load_file(download(source, sha256), map_location, None, name=source)
    if scheme[1] in ('torchvision', 'modelzoo', 'open-mmlab', 'openmmlab', 'mmcls'):
        return _load_named(scheme[1], source.split('//', 1)[1], map_location, sha256)
    from mmengine.fileio import get

    with reading(source, _EXPECTED, _FIX, CheckpointError):
        data = get(source)
    _check_sum(hashlib.sha256(data).hexdigest(), sha256, source)
    return _load(io.BytesIO(data), len(data), map_location, source)


def _load_named(scheme: str, name: str, map_location: Any, sha256: str | None) -> dict[str, Any]:
    """A checkpoint by its name in one of MMEngine's tables."""
    from mmengine.runner import checkpoint as tables

    if scheme in ('torchvision', 'modelzoo'):
        urls = tables.get_torchvision_models()
    elif scheme == 'mmcls':
        urls = tables.get_mmcls_models()
    else:
        urls = tables.get_external_models()
        name = tables.get_deprecated_model_names().get(name, name)
    if name not in urls:
        raise ConfigError(
            f'{scheme}://{name}', 'an unknown name', "a name of MMEngine's tables", 'correct it'
        )
    url = urls[name]
    if '://' not in url:  # a path below MMEngine's home
        url = os.path.join(tables._get_mmengine_home(), url)
    found = load_weights(url, map_location, sha256)
    return tables._process_mmcls_checkpoint(found) if scheme == 'mmcls' else found


def _load_file(
    path: str | os.PathLike, map_location: Any, sha256: str | None, name: str | None = None
) -> dict[str, Any]:
    name = name or f'{path}'
    with reading(name, _EXPECTED, 'correct the path', CheckpointError):
        if os.path.isdir(path):
            raise IsADirectoryError(None, 'a folder')
        stream = open(path, 'rb')
    with stream:
        if sha256 is not None:
            _check_sum(file_sha256(path), sha256, name)
        return _load(stream, os.fstat(stream.fileno()).st_size, map_location, name)


def _load(stream: Any, size: int, map_location: Any, name: str) -> dict[str, Any]:
    with reading(name, _EXPECTED, _FIX, CheckpointError):
        head = stream.read(9)
        stream.seek(0)
        if len(head) == 9 and head[8:] == b'{' and int.from_bytes(head[:8], 'little') < size:
            return _checked(_read_safetensors(stream.read(), map_location), size, name)
        if head[:2] == b'PK':
            _check_archive(stream, size)
        content = torch.load(stream, map_location=map_location, weights_only=True)
        return _checked(content, size, name)


def _read_safetensors(data: bytes, map_location: Any) -> dict[str, Any]:

    from safetensors.torch import load

    tensors = load(data)
    header = parse_json(data[8 : 8 + int.from_bytes(data[:8], 'little')])
    if isinstance(map_location, (str, torch.device)):
        tensors = {key: value.to(map_location) for key, value in tensors.items()}
    return {'state_dict': tensors, 'meta': header.get('__metadata__') or {}}


def _check_archive(stream: Any, size: int) -> None:
    with zipfile.ZipFile(stream) as archive:
        check_stored(archive.infolist(), size)
    stream.seek(0)


def _checked(content: Any, size: int, name: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f'a {type(content).__name__} and no dict of weights')
    state = content.get('state_dict', content)
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise ValueError('no state_dict of names and tensors')
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError('no tensors')
    # A tensor may promise more elements than the file has, by strides of 0.
    for key, value in tensors.items():
        if value.numel() * value.element_size() > size:
            raise ValueError(f'a tensor {key} of more bytes than the file')
    bad = [key for key, value in tensors.items() if not _is_finite(value)]
    if bad:
        raise CheckpointError(
            name,
            f'{len(bad)} of {len(tensors)} tensors that are not finite, {bad[0]} for one',
            'finite weights',
            'use an earlier checkpoint: the training diverged before this one was saved',
        )
    return content


def _is_finite(value: Tensor) -> bool:
    if not value.is_floating_point() or value.layout != torch.strided:
        return True
    value = value.float() if value.element_size() == 1 else value
    return bool(torch.isfinite(value).all())


def download(url: str, sha256: str | None = None) -> Path:
    """Downloads a file once and returns its path, which is different for each URL.

    Several processes may ask for the same file: one downloads, the others wait for it.

    Args:
        url: ``http(s)://``; may end in ``#sha256=...``.
        sha256: What the file's SHA-256 must begin with, at least 8 digits.

    Raises:
        CheckpointError: There is no connection, the download is incomplete, or the checksum
            differs.
    """
    url, _, fragment = url.partition('#')
    if fragment.startswith('sha256='):
        sha256 = fragment.removeprefix('sha256=')
    folder = cache_folder('weights') / hashlib.sha256(url.encode()).hexdigest()[:32]
    folder.mkdir(exist_ok=True, mode=0o755)
    name = os.path.basename(urllib.parse.urlsplit(url).path)
    path = folder / (re.sub(r'[^\w.-]', '_', name)[-100:].lstrip('.') or 'weights')
    with _one_at_a_time(folder):
        remove_left_overs(folder)
        if not is_sealed(path):
            with reading(
                url, 'a file to download', 'check the address and the connection', CheckpointError
            ):
                _fetch(url, path)
            seal(path)
    _check_sum(file_sha256(path), sha256, url)
    return path


def _fetch(url: str, path: Path) -> None:
    request = urllib.request.Request(url, headers={'User-Agent': 'bharnet_mm'})
    with (
        urllib.request.urlopen(request, timeout=_TIMEOUT) as answer,
        atomic_write(path, 'wb') as out,
    ):
        promised = answer.headers.get('Content-Length')
        done = 0
        while block := answer.read(1 << 20):
            out.write(block)
            done += len(block)
        if promised is not None and done != int(promised):
            raise ConnectionError(None, f'the connection ended after {done} of {promised} bytes')


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(folder / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_sum(found: str, wanted: str | None, name: str) -> None:
    if wanted is None:
        return
    if not re.fullmatch(r'[0-9a-fA-F]{8,64}', wanted):
        raise ConfigError(
            f'sha256 of {name}', repr(wanted), '8 to 64 hexadecimal digits', 'mend it'
        )
    if not found.startswith(wanted.lower()):
        raise CheckpointError(
            name,
            f'the SHA-256 {found}',
            f'one that begins with {wanted.lower()}',
            'the file is damaged or another one: download it again or correct the checksum',
        )
