"""Output on the screen during training and testing. Everything else is written to the log file."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Mapping
from typing import Any

from mmaction.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from ..io.names import shown
from .kept_warnings import KEPT


class ConsoleRunner(Runner):
    """MMEngine's runner with its log in a file. The screen shows our warnings and all errors.

    The config is written to the work folder when the run begins, not before the data, the model and
    the checkpoint have been found to be fine: a run that fails at its start does not replace the
    config of the model that lies there.
    """

    def dump_config(self) -> None:
        """Nothing yet, see :meth:`keep_config`."""

    def keep_config(self) -> None:
        """Writes the config to the work folder."""
        super().dump_config()

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """The logger, with its console handler made quiet."""
        # MMEngine keeps logger, message hub and visualizer by this name, with the time in seconds.
        # So a second run in the same second would write to the files of the first one.
        name, number = self._experiment_name, 1
        while MMLogger.check_instance_created(self._experiment_name):
            number += 1
            self._experiment_name = f'{name}_{number}'
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(_for_the_screen)
        for text in KEPT:
            logger.info(text)
        KEPT.clear()
        warnings.showwarning = lambda text, kind, *place, **_: logger.info(
            f'{kind.__name__}: {text}'
        )
        return logger


def _for_the_screen(record: logging.LogRecord) -> bool:
    """Lets errors and this package's warnings pass; other warnings go to the file."""
    if record.levelno != logging.WARNING:
        return record.levelno > logging.WARNING
    frame = sys._getframe()
    passed = ('logging', 'mmengine.logging', __name__, 'bharnet_mm.log')
    while frame is not None and frame.f_globals.get('__name__', '').startswith(passed):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get('__name__', '').startswith('bharnet_mm')


@HOOKS.register_module()
class ConsoleHook(Hook):
    """Prints what is trained, a line with each expert's accuracy for each epoch, and the results of
    a test.

    On a terminal the line of the running epoch shows the iterations and the time left.
    """

    priority = 'VERY_LOW'  # after the hooks that measure

    def __init__(self) -> None:
        self._line = ''
        self._start = self._shown = 0.0

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Keeps the config; prints model, clips, schedule, device and folder in three lines."""
        if isinstance(runner, ConsoleRunner):
            runner.keep_config()
        model = getattr(runner.model, 'module', runner.model)
        size = sum(parameter.numel() for parameter in model.parameters())
        device = next(model.parameters()).device
        epochs, batch = runner.max_epochs, runner.train_dataloader.batch_size
        print(f'{runner.experiment_name}: {type(model).__name__}, {size:,} parameters, on {device}')
        print(f'trains on {_clips(runner.train_dataloader)}; {epochs} epochs, batch {batch}')
        if runner.val_loop is not None:
            loader = runner.val_dataloader
            print(f'validates on {_clips(getattr(loader, "dataset", loader))}')
        print(shown(f'log and checkpoints: {runner.work_dir}'), flush=True)
        self._begun, self._first = time.monotonic(), runner.epoch

    @master_only
    def before_train_epoch(self, runner: Runner) -> None:
        """Ends the line of the previous epoch."""
        self._end_line()
        self._start = time.monotonic()

    @master_only
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Updates the line of the current epoch on a terminal."""
        if sys.stdout.isatty() and time.monotonic() - self._shown > 0.2:
            self._shown = time.monotonic()
            count = len(runner.train_dataloader)
            left = self._left(runner, runner.epoch + (batch_idx + 1) / count)
            text = f'{self._head(runner)}  {batch_idx + 1}/{count}  {left}'
            print(f'\r{text:79}', end='', flush=True)

    @master_only
    def after_train_epoch(self, runner: Runner) -> None:
        """Prints mean loss and accuracies of the epoch. A validation adds its own to the line."""
        steps = len(runner.train_dataloader)
        scalars = runner.message_hub.log_scalars
        mean = {
            name.removeprefix('train/'): history.mean(min(steps, len(history.data[0])))
            for name, history in scalars.items()
            if name == 'train/loss' or name.startswith('train/top1')
        }
        self._line = f'{self._head(runner)}  loss {mean.pop("loss", float("nan")):.3f}'
        if mean:
            self._line += '  train ' + _accuracies(mean, 'top1_', '')
        self._line += f'  {_clock(time.monotonic() - self._start)}'
        self._line += f', {self._left(runner, runner.epoch + 1)}'

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Adds the validation's accuracies to the line of the epoch."""
        found = _accuracies(metrics or {}, 'acc/', '_top1')
        self._line = f'{self._line}  validation {found}' if self._line else f'validation {found}'
        self._end_line()

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Prints the path of the last checkpoint."""
        self._end_line()
        took = _clock(time.monotonic() - self._begun)
        last = runner.message_hub.get_info('last_ckpt') or runner.work_dir
        print(shown(f'trained in {took}: {last}'))

    @master_only
    def after_test_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Prints all results of the test."""
        loader = runner.test_dataloader
        print(f'tested on {_clips(getattr(loader, "dataset", loader))}')
        for name, value in (metrics or {}).items():
            print(f'{name}: {value:.4f}' if isinstance(value, float) else f'{name}: {value}')
        sys.stdout.flush()

    def _head(self, runner: Runner) -> str:
        width = len(str(runner.max_epochs))
        return f'epoch {runner.epoch + 1:{width}}/{runner.max_epochs}'

    def _left(self, runner: Runner, done: float) -> str:
        share = (runner.max_epochs - done) / max(done - self._first, 1e-9)
        return f'{_clock((time.monotonic() - self._begun) * share)} left'

    def _end_line(self) -> None:
        if self._line:
            print(f'\r{self._line:79}' if sys.stdout.isatty() else self._line, flush=True)
        self._line = ''


def _accuracies(values: Mapping[str, float], prefix: str, suffix: str) -> str:
    """The fused accuracy first, then each expert's: ``.953 (body .930, hand .871)``."""
    found = {
        name.removeprefix(prefix).removesuffix(suffix): value
        for name, value in values.items()
        if name.startswith(prefix) and name.endswith(suffix)
    }
    fused = values.get('acc/top1', found.get('fused'))
    experts = [f'{n} {found[n]:.3f}' for n in ('body', 'hand', 'rgb') if n in found]
    if fused is None:
        plain = {name: value for name, value in values.items() if isinstance(value, float)}
        return ', '.join(f'{name} {value:.3f}' for name, value in list(plain.items())[:4])
    return f'{fused:.3f}' + (f' ({", ".join(experts)})' if experts else '')


def _clips(loader: Any) -> str:
    """Number of clips, store and split of a loader's data set."""
    dataset = getattr(loader, 'dataset', loader)
    inner = dataset
    while not hasattr(inner, 'store') and hasattr(inner, 'dataset'):
        inner = inner.dataset
    text, repeat = f'{len(dataset)} clips', getattr(inner, 'repeat', 1)
    if repeat > 1:
        text += f' ({len(inner) // repeat}, each {repeat} times)'
    store = getattr(inner, 'store', None)
    return text if store is None else shown(f'{text} of {store.path}, split {inner.split!r}')


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
