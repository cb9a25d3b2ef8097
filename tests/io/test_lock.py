import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from command import environment

from bharnet_mm.errors import ConfigError, StoreError
from bharnet_mm.io.lock import FolderLock
from bharnet_mm.io.process import die_with

HOLD = """
import sys, time
from bharnet_mm.io.lock import FolderLock
from bharnet_mm.io.process import die_with
lock = FolderLock(sys.argv[1])
print('held', flush=True)
time.sleep(60)
"""


def test_one_process_and_until_it_ends(tmp_path):
    path = tmp_path / 'lock'
    holder = subprocess.Popen(
        [sys.executable, '-c', HOLD, str(path)], env=environment(), stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b'held\n'
    with pytest.raises(StoreError, match=f'another writer at work .process {holder.pid} on'):
        FolderLock(path)
    with pytest.raises(ConfigError, match='another training'):
        FolderLock(path, 'training', ConfigError)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with FolderLock(path) as lock:
        lock.release()
        lock.release()


PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', '''
import os, sys, time
from bharnet_mm.io.process import die_with
die_with(int(sys.argv[1]))
print('begun', flush=True)
time.sleep(60)
''', str(os.getpid())], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_child_ends_with_its_parent():
    parent = subprocess.Popen(
        [sys.executable, '-c', PARENT], env=environment(), stdout=subprocess.PIPE
    )
    expect_no_orphan(parent)


def expect_no_orphan(parent):
    child = int(parent.stdout.readline())
    os.kill(child, 0)
    parent.kill()
    parent.wait()
    for _ in range(100):
        try:
            with open(f'/proc/{child}/stat') as stat:
                if stat.read().rpartition(')')[2].split()[0] == 'Z':
                    return
        except FileNotFoundError:
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail('the child lives on')


POOL = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from bharnet_mm.io.process import die_with
if __name__ == '__main__':
    with ProcessPoolExecutor(1, get_context(sys.argv[1]), initializer=die_with) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize('method', ['fork', 'spawn', 'forkserver'])
def test_a_pool_ends_with_its_parent(tmp_path, method):
    (tmp_path / 'pool.py').write_text(POOL)
    words = [sys.executable, tmp_path / 'pool.py', method]
    expect_no_orphan(subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE))


def test_only_a_child_of_multiprocessing_knows_its_parent():
    with pytest.raises(ValueError, match='not started by multiprocessing'):
        die_with()


def test_multiprocessing_is_not_disturbed():
    with multiprocessing.get_context('fork').Pool(1) as pool:
        assert pool.apply(abs, (-1,)) == 1
