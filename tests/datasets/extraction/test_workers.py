import os
import time

import pytest

from bharnet_mm.datasets.extraction.workers import Failure, run_jobs
from bharnet_mm.errors import BHaRNetError, ConfigError, SourceError


class Job:
    """Does what the job's first letter says."""

    def __call__(self, job, tick):
        kind, _, number = job.partition(' ')
        if kind == 'hang':
            time.sleep(600)
        if kind == 'crash':
            os._exit(9)
        if kind == 'wrong':
            raise SourceError(job, 'nonsense (of a kind)', 'sense', 'mend it')
        if kind == 'slow':
            for _ in range(8):
                time.sleep(0.5)
                tick()
        return f'{kind} {number} done'


def broken_build():
    raise ConfigError('backend', 'nothing', 'something', 'install it')


def test_order_hanging_crashing_and_errors():
    jobs = ['slow 0', 'fast 1', 'wrong 2', 'crash 3', 'hang 4', 'hang 5', 'fast 6', 'fast 7']

    def retry(job):
        return 'fast again' if job == 'hang 5' else None

    out = list(run_jobs(Job, jobs, 2, timeout=2.5, retry=retry))
    # The slow one takes longer than the timeout, but moves on.
    assert out[:2] == ['slow 0 done', 'fast 1 done'] and out[6:] == ['fast 6 done', 'fast 7 done']
    assert out[2] == Failure(
        'nonsense', str(SourceError(jobs[2], 'nonsense (of a kind)', 'sense', 'mend it'))
    )
    assert 'crashed' in out[3].reason
    assert 'no progress for 2.5 seconds' == out[4].reason
    assert out[5] == 'fast again done'


def test_in_this_process():
    out = list(run_jobs(Job, ['fast 0', 'wrong 1'], 0, timeout=1))
    assert out[0] == 'fast 0 done' and isinstance(out[1], Failure)


@pytest.mark.parametrize('workers', [0, 1])
def test_what_cannot_be_built_ends_everything(workers):
    with pytest.raises(BHaRNetError, match='install it'):
        list(run_jobs(broken_build, ['fast 0', 'fast 1'], workers, timeout=5))
