"""The kernels in C++: where they are used, and that they can be missing."""

import os
import platform
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

from bharnet_mm.ops import native
from bharnet_mm.ops.norm_act import norm_act


@pytest.fixture
def fresh(monkeypatch):
    """Nothing loaded yet, before and after."""
    native.library.cache_clear()
    yield monkeypatch
    native.library.cache_clear()


def test_without_a_compiler_one_line_says_so_and_torch_computes(fresh, tmp_path, capfd):
    fresh.setenv('XDG_CACHE_HOME', str(tmp_path))
    fresh.setenv('CXX', 'no-such-compiler')
    fresh.setattr(native, 'cpu_flags', lambda: 'flags : avx512f avx512bw avx512vl')
    lines = []
    fresh.setattr(native, 'print_log', lambda text, **_: lines.append(text))
    norm, x = nn.BatchNorm2d(4), torch.randn(3, 4, 2, 2)
    for _ in range(3):
        y = norm_act(norm, x)
    assert lines == ['Native kernels are not used: no C++ compiler (g++, or what CXX names)']
    expected = nn.functional.leaky_relu(nn.functional.batch_norm(x, None, None, training=True), 0.1)
    torch.testing.assert_close(y, expected)


def test_a_failing_compiler_says_what_it_said(fresh, tmp_path):
    fresh.setenv('XDG_CACHE_HOME', str(tmp_path))
    compiler = tmp_path / 'c++'
    compiler.write_text('#!/bin/sh\necho it broke >&2\nexit 1\n')
    compiler.chmod(0o755)
    fresh.setenv('CXX', str(compiler))
    fresh.setattr(native, 'cpu_flags', lambda: 'flags : avx512f avx512bw avx512vl')
    with pytest.raises(RuntimeError, match='it broke'):
        native.build()
    assert native.library() is None


def test_a_processor_without_the_instructions_is_left_alone(fresh):
    fresh.setattr(native, 'cpu_flags', lambda: 'flags : sse2 avx2')
    assert native.library() is None


def test_built_once_and_anew_for_other_sources(fresh, tmp_path, native_kernels):
    fresh.setenv('XDG_CACHE_HOME', str(tmp_path))
    fresh.setattr(native, 'SOURCES', ('vec.h', 'norm.cpp'))  # the shortest to compile
    path = native.build()
    changed = path.stat().st_mtime_ns
    assert native.build() == path and path.stat().st_mtime_ns == changed
    fresh.setattr(native, 'FLAGS', (*native.FLAGS, '-DOTHER'))
    assert native.build() != path
    assert len(list(tmp_path.rglob('*'))) == 6  # two folders, two files and their seals


@pytest.mark.parametrize(
    'harm', ['emptied', 'cut', 'changed', 'open to others', 'a link', 'no seal']
)
def test_a_cached_file_that_cannot_be_trusted_is_built_again(fresh, tmp_path, harm, native_kernels):
    fresh.setenv('XDG_CACHE_HOME', str(tmp_path))
    fresh.setenv('CXX', f'env {native_compiler()}')  # as "ccache g++"
    fresh.setattr(native, 'SOURCES', ('vec.h', 'norm.cpp'))
    path = native.build()
    good = path.read_bytes()
    if harm == 'open to others':
        path.chmod(0o666)
    elif harm == 'a link':
        path.rename(tmp_path / 'elsewhere')
        path.symlink_to(tmp_path / 'elsewhere')
    elif harm == 'no seal':
        path.with_name(path.name + '.sha256').unlink()
    else:
        bad = {'emptied': b'', 'cut': good[: len(good) // 2], 'changed': good[:-1] + b'x'}
        path.write_bytes(bad[harm])
    assert native.build() == path and not path.is_symlink()
    assert path.read_bytes()[:4] == b'\x7fELF' and path.stat().st_size == len(good)
    assert path.stat().st_mode & 0o022 == 0


def native_compiler():
    return shutil.which('g++')


@pytest.mark.skipif(os.getuid() != 0, reason='only root can give files away')
def test_a_cache_of_somebody_else_is_not_used(fresh, tmp_path, native_kernels):
    fresh.setenv('XDG_CACHE_HOME', str(tmp_path))
    fresh.setattr(native, 'SOURCES', ('vec.h', 'norm.cpp'))
    theirs = tmp_path / 'bharnet_mm/kernels'
    theirs.mkdir(parents=True)
    os.chown(theirs.parent, 12345, 12345)
    os.chown(theirs, 12345, 12345)
    assert native.build().parent == tmp_path / f'bharnet_mm-{os.getuid()}/kernels'


def test_switched_off_in_float64_and_by_the_environment(monkeypatch, native_kernels):
    x = torch.randn(2)
    assert native.kernels('norm', x) and native.kernels('norm', x.bfloat16())
    assert native.kernels('norm', x.double()) is None
    assert native.kernels('norm', x, x.bfloat16()) is None
    assert native.kernels('norm', x.to('meta')) is None
    monkeypatch.setenv('BHARNET_NATIVE', '0')
    assert native.kernels('norm', x) is None


def test_importing_the_package_builds_nothing(tmp_path):
    code = 'import bharnet_mm.ops.native as n; assert n.library.cache_info().currsize == 0'
    subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', 'import bharnet_mm.models; ' + code], check=True
    )


def test_a_tensor_with_gaps_is_refused():
    with pytest.raises(ValueError, match='contiguous'):
        native.pointer(torch.zeros(4, 4).t())


FAULTS = """
import resource, torch
from bharnet_mm.ops import native

torch.set_num_threads(1)
{keep}
def step():
    return [torch.ones(5 << 20) for _ in range(8)]  # 20 MB each

for _ in range(8):  # until the pieces fit
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='other libraries are left alone')
def test_freed_memory_is_kept_unless_the_environment_says_otherwise(tmp_path):
    def faults(keep: str, **environment) -> int:
        env = {k: v for k, v in os.environ.items() if not k.startswith('MALLOC_')} | environment
        command = [sys.executable, '-c', FAULTS.format(keep=keep)]
        return int(subprocess.run(command, env=env, capture_output=True, check=True).stdout)

    pages = 8 * (20 << 20) // 4096
    assert faults('native.keep_freed_memory()') < pages / 20
    set_by_user = faults('native.keep_freed_memory()', MALLOC_TRIM_THRESHOLD_='1000000')
    assert set_by_user > pages / 2
