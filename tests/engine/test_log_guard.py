"""A full disk costs lines of the log and not the training."""

import threading

import pytest
from toy_training import EPOCHS, make_runner

import bharnet_mm  # noqa: F401  prepares MMAction2
from bharnet_mm.apis.training_curve import read_training_curve
from bharnet_mm.engine.log_guard import guard_logs


def test_a_full_disk(small_disk, capsys):
    visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    loop = dict(type='EpochBasedTrainLoop', max_epochs=30)
    hooks = dict(checkpoint=None, logger=dict(type='LoggerHook', interval=1))
    options = dict(visualizer=visualizer, train_cfg=loop, log_level='INFO', default_hooks=hooks)
    options |= dict(by_epoch=False)  # and so without a validation
    runner = guard_logs(make_runner(small_disk / 'work', 'full', **options))
    written = sum(path.stat().st_size for path in small_disk.rglob('*') if path.is_file())
    (small_disk / 'filler').write_bytes(bytes((1 << 20) - (16 << 10) - written))
    runner.train()
    said = capsys.readouterr().err
    assert runner.epoch == 30 > EPOCHS
    assert said.count('LocalVisBackend: the log cannot be written') == 1
    assert said.count('.log: the log cannot be written') <= 1 and 'Traceback' not in said
    curve = read_training_curve(small_disk / 'work').losses['loss']
    assert 0 < len(curve) < 30 * 4


def test_other_errors_are_not_kept_quiet(tmp_path):
    visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    runner = guard_logs(make_runner(tmp_path, 'other', visualizer=visualizer))
    with pytest.raises(AssertionError):
        runner.visualizer.add_scalars('no dict')


def test_a_backend_that_cannot_write_its_rest_when_it_is_closed(tmp_path, monkeypatch, capsys):
    """As TensorBoard's, whose events wait in memory."""
    from mmengine.visualization import LocalVisBackend

    def close(self):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(LocalVisBackend, 'close', close)
    visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    runner = guard_logs(make_runner(tmp_path, 'closed', visualizer=visualizer))
    runner.train()
    runner.visualizer.close()
    said = capsys.readouterr().err
    assert said.count('LocalVisBackend: the log cannot be written') == 1


def test_a_backend_that_writes_in_a_thread(tmp_path, monkeypatch, capsys):
    """As TensorBoard's: its thread ends, and the next call raises the thread's error."""
    from mmengine.visualization import LocalVisBackend

    monkeypatch.setattr(threading, 'excepthook', lambda args: print('Traceback'))
    full, errors = OSError(28, 'No space left on device'), []

    def add_scalars(self, *args, **options):
        if errors:
            raise errors[0]
        errors.append(full)
        in_thread(full)

    monkeypatch.setattr(LocalVisBackend, 'add_scalars', add_scalars)
    visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    runner = guard_logs(make_runner(tmp_path, 'thread', visualizer=visualizer))
    runner.train()
    said = capsys.readouterr()
    assert said.err.count('ended: [Errno 28]') == 1 and 'Traceback' not in said.out
    assert said.err.count('LocalVisBackend: the log cannot be written') == 1
    in_thread(KeyError('a fault of the program'))
    assert 'Traceback' in capsys.readouterr().out


def in_thread(error):
    def fail():
        raise error

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
