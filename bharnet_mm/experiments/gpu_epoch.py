"""Epochs of training end to end, from a store of generated clips: loader, step, optimizer and
hooks.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from mmengine.hooks import Hook

from ..apis.model_zoo import config_path
from ..datasets import Clip, StoreWriter
from ..engine.command_line import build_runner
from ..engine.config_file import load_config
from .contenders import CLASSES
from .gpu_sections import Sizes, spread, synchronize


class Clock(Hook):
    """Seconds of each epoch, until the device is done, and of each step on the host: in all, of
    waiting for the loader before it, and of CPU time.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.epochs, self.steps, self.waits, self.cpu = [], [], [], []
        self.begin = self.end = self.start = self.cpu_end = 0.0

    def before_train_epoch(self, runner) -> None:
        """Starts the clock."""
        synchronize(self.device)
        self.begin = self.end = time.perf_counter()
        self.cpu_end = time.thread_time()

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Stops the time of waiting for the loader."""
        self.start = time.perf_counter()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Stops the time of the step, for which the host does not wait."""
        now, cpu = time.perf_counter(), time.thread_time()
        self.steps.append(now - self.end)
        self.waits.append(self.start - self.end)
        self.cpu.append(cpu - self.cpu_end)
        self.end, self.cpu_end = now, cpu

    def after_train_epoch(self, runner) -> None:
        """Stops the time of the epoch."""
        synchronize(self.device)
        self.epochs.append(time.perf_counter() - self.begin)


def write_store(path: Path, clips: int, frames: int = 80) -> None:
    """Random clips of NTU's sizes: one person in 4 of 5, a third of the hands missing."""
    rng = np.random.default_rng(0)
    scores = np.ones((2, frames), np.float32)
    with StoreWriter(
        path,
        name='generated',
        body_layout='kinect_v2',
        hand_layout='hand',
        body_channels=('x', 'y', 'z'),
        hand_channels=('x', 'y', 'z'),
        classes=[str(i) for i in range(CLASSES)],
        splits={name: {'source': ['generated']} for name in ('xsub_train', 'xsub_test')},
    ) as writer:
        for i in range(clips):
            persons = 1 + (i % 5 == 0)
            hands = scores[:persons, None] * (rng.random((persons, 2, 1)) > 1 / 3)
            writer.add(
                Clip(
                    clip_id=f'{i:06d}',
                    label=i % CLASSES,
                    body=rng.standard_normal((persons, frames, 25, 3), np.float32),
                    body_score=scores[:persons],
                    hand=rng.standard_normal((persons, 2, frames, 21, 3), np.float32),
                    hand_score=hands.astype(np.float32),
                    frame_index=np.arange(frames, dtype=np.int32),
                    source='generated',
                )
            )


def epoch(sizes: Sizes, config: str = 'bharnet_p_ntu120') -> dict:
    """Clips per second of training by a shipped config in bf16, with its hooks (CUDA graphs among
    them), and the loader's share.

    The first half of the epochs, in which graphs are recorded, is not counted. A recording takes as
    long as some dozen steps, and there are about twenty.
    """
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_store(Path(folder) / 'ntu120', sizes.clips)
        written = time.perf_counter() - start
        overrides = {
            'data_root': folder,
            'work_dir': folder,
            'max_epochs': sizes.epochs,
            'train_dataloader.batch_size': sizes.batch,
            'train_dataloader.num_workers': 12 if sizes.device == 'cuda' else 0,
            'train_dataloader.persistent_workers': sizes.device == 'cuda',
            # 256 steps an epoch, as the workers' start is a few steps
            'train_dataloader.dataset.repeat': 4 if sizes.device == 'cuda' else 1,
            'optim_wrapper.type': 'BFloat16OptimWrapper',
            'optim_wrapper.optimizer.lr': 0.001,  # random clips without warm-up diverge at 0.1
        }
        cfg = load_config(config_path(config), overrides)
        cfg.work_dir, cfg.launcher, cfg.param_scheduler = folder, 'none', None
        for part in ('val', 'test'):
            for name in ('cfg', 'dataloader', 'evaluator'):
                cfg[f'{part}_{name}'] = None
        cfg.default_hooks.checkpoint = None
        runner = build_runner(cfg)
        clock = Clock(sizes.device)
        runner.register_hook(clock, priority='LOWEST')
        runner.train()
    skip = sizes.epochs // 2
    seconds, first = sum(clock.epochs[skip:]), skip * len(clock.steps) // sizes.epochs
    steps, waits = clock.steps[first:], clock.waits[first:]
    return dict(
        write_s=written,
        steps=len(clock.steps),
        end_to_end_clips_per_s=sizes.batch * len(steps) / seconds,
        loader_share=sum(waits) / seconds,
        host_cpu_ms=1000 * statistics.median(clock.cpu[first:]),
        first_step_s=clock.steps[0],
        **spread(steps, sizes.batch),
    )
