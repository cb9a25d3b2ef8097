"""Optional kernels in C++ for CPUs. They are compiled at their first use, if there is a compiler,
and kept.

Without them torch's operators are used. They are used for float32 and bfloat16 on a CPU with
AVX-512; ``BHARNET_NATIVE=0`` in the environment switches them off. They are plain functions of
pointers, called through ctypes. So they need no headers of torch, compile in seconds, and one build
works with every version of torch. It is in the user's cache folder, one file for each version of
the sources, compiler and processor.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import Tensor

from ...errors import ConfigError
from ...io.cache import cache_folder, is_sealed, seal

SOURCES = ('vec.h', 'norm.cpp', 'refined_graph.h', 'refined_graph.cpp', 'product.h')
SOURCES += ('folded.cpp', 'temporal.h', 'temporal.cpp')
FLAGS = ('-std=c++17', '-O3', '-march=native', '-fopenmp', '-fPIC', '-shared')
FLAGS += ('-fno-math-errno', '-fno-trapping-math', '-Wno-psabi')
PLAIN = (Tensor, torch.nn.Parameter)  # other types may have no memory
SUFFIXES = {torch.float32: 'f32', torch.bfloat16: 'bf16'}


def kernels(name: str, *features: Tensor | None) -> tuple | None:
    """The functions ``NAME_forward`` and ``NAME_backward`` for the type of ``features`` (None if
    there is no such function). Returns None unless all features are float32 or bfloat16 on the CPU
    and the kernels are available.
    """
    if os.environ.get('BHARNET_NATIVE') == '0':
        return None
    dtype = features[0].dtype
    for x in features:
        if x is not None and (x.device.type != 'cpu' or x.dtype != dtype or type(x) not in PLAIN):
            return None
    if dtype not in SUFFIXES or library() is None:
        return None
    return tuple(
        getattr(library(), f'{name}_{direction}_{SUFFIXES[dtype]}', None)
        for direction in ('forward', 'backward')
    )


def pointer(x: Tensor | None) -> ctypes.c_void_p:
    """Address of a contiguous tensor's data."""
    if x is not None and not x.is_contiguous():
        raise ValueError(f'a kernel reads contiguous tensors, got strides {x.stride()}')
    return ctypes.c_void_p(None if x is None else x.data_ptr())


@functools.cache
def library() -> ctypes.CDLL | None:
    """The kernels, compiled if needed; None, with a line in the log, if that is not possible."""
    try:
        kernels = ctypes.CDLL(str(build()))
    except (OSError, RuntimeError, subprocess.SubprocessError, ConfigError) as error:
        print_log(f'Native kernels are not used: {error}', logger='current')
        return None
    keep_freed_memory()
    return kernels


def keep_freed_memory() -> None:
    """Asks glibc to keep memory that was freed, for the next step. Otherwise each step returns most
    of its features to the system and gets them back page by page, a tenth of its time. Settings in
    the environment (``MALLOC_*``) are respected; other C libraries are left alone.
    """
    if any(name.startswith('MALLOC_') for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is not None and platform.libc_ver()[0] == 'glibc':
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD, the most that it takes


def build() -> Path:
    """Compiles the kernels unless that has been done for these sources, compiler and processor.

    Raises:
        RuntimeError: There is no AVX-512 or no compiler, or the compilation fails.
    """
    flags = cpu_flags()
    if not {'avx512f', 'avx512bw', 'avx512vl'} <= set(flags.split()):
        raise RuntimeError('the processor has no AVX-512')
    try:
        compiler = shlex.split(os.environ.get('CXX') or 'g++')  # may be 'ccache g++'
    except ValueError as error:
        raise RuntimeError(f'CXX cannot be read ({error})') from None
    if not compiler or shutil.which(compiler[0]) is None:
        raise RuntimeError('no C++ compiler (g++, or what CXX names)')
    folder = Path(__file__).parent
    version = subprocess.run([*compiler, '--version'], capture_output=True, text=True).stdout
    facts = [(folder / name).read_text() for name in SOURCES]
    facts += [*FLAGS, *compiler, version, flags]
    key = hashlib.sha256('\0'.join(facts).encode()).hexdigest()[:16]
    cache = cache_folder('kernels')
    path = cache / f'native_{key}.so'
    if is_sealed(path):  # ours, and whole
        return path
    print_log(f'Compiling native kernels, once, to {path}', logger='current')
    # Several processes may compile at once. Each moves its complete file into place.
    with tempfile.TemporaryDirectory(dir=cache) as own:
        built = Path(own) / 'native.so'
        sources = [str(folder / name) for name in SOURCES if name.endswith('.cpp')]
        command = [*compiler, *FLAGS, *sources, '-o', str(built)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f'{compiler[0]} failed: {done.stderr.strip()[-500:]}')
        os.replace(built, path)
    seal(path)
    return path


def cpu_flags() -> str:
    """Instruction sets of the processor, as Linux lists them; empty elsewhere."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line for line in lines if line.startswith(('flags', 'Features'))), '')
