"""Saves checkpoints so that a valid one exists at any time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mmaction.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from ..errors import CheckpointError, ConfigError
from ..io.atomic import remove_left_overs, write_text
from .config_check import nearest
from .finite import not_finite

#: Ends of the names of metrics whose least value is the best.
_LESS_IS_BETTER = ('ece', 'loss')


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """MMEngine's hook of this name, changed so that a run can be resumed after a kill at any time.

    - Outdated checkpoints, also the former best one, are removed only after the new one is saved.
    - Weights that are not finite are never saved.
    - The number of processes and of iterations an epoch is saved, and a run is resumed only with
      the same numbers. Otherwise batches and learning rate would be different.
    - If a run was stopped between its last checkpoint and the validation, the validation is done
      when it is resumed.
    - The work folder may have been moved since.
    - A metric of ``save_best`` that the evaluation does not give is refused before the training if
      the names are known (:meth:`.BodyHandMetric.names`), and at the first evaluation otherwise.
      Of losses and of ``ece`` the least value is the best.

    Arguments are those of :class:`mmengine.hooks.CheckpointHook`.
    :func:`bharnet_mm.safety.write_whole_files` makes every file appear whole or not at all.
    """

    def before_train(self, runner: Runner) -> None:
        """Removes temporary files of killed runs, and does a validation that is missing."""
        super().before_train(runner)
        self.check_save_best(names_of_metrics(runner))
        if is_main_process():
            remove_left_overs(self.out_dir)
            remove_left_overs(runner.work_dir)
        self._follow_move()
        if runner._resume and is_main_process():
            self._remove_former_best()
            # A run that was killed between the two saved this checkpoint but did not remove that.
            self._remove_outdated(runner.message_hub.runtime_info.get('outdated_ckpt'))
        loop = runner.train_loop
        due = runner.val_loop is not None and loop.epoch >= max(1, loop.val_begin)
        due = due and (loop.epoch % loop.val_interval == 0 or loop.epoch == loop.max_epochs)
        if self.by_epoch and due and loop.iter == loop.epoch * len(loop.dataloader):
            if runner.message_hub.runtime_info.get('validated_epoch') != loop.epoch:
                runner.val_loop.run()

    def _follow_move(self) -> None:
        """Corrects the paths of best checkpoints if the folder was moved."""

        def here(path: str | None) -> str | None:
            moved = path and not os.path.exists(path)
            return os.path.join(self.out_dir, os.path.basename(path)) if moved else path

        if getattr(self, 'best_ckpt_path', None):
            self.best_ckpt_path = here(self.best_ckpt_path)
        for key, path in getattr(self, 'best_ckpt_path_dict', {}).items():
            self.best_ckpt_path_dict[key] = here(path)

    def _remove_former_best(self) -> None:
        """Removes best checkpoints that a run was killed before it could remove."""
        for key, path in self._best().items():
            name = self.key_indicators[0] if key is None else key
            if not path or not os.path.exists(path):
                continue
            pattern = f'best_{name}_{self.filename_tmpl}'.replace('/', '_').format('*')
            for other in Path(path).parent.glob(pattern):
                if other.name != os.path.basename(path):
                    self._remove(str(other))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """Saves the best checkpoint, and notes which epoch has been validated."""
        runner.message_hub.update_info('validated_epoch', runner.epoch)
        super().after_val_epoch(runner, metrics)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Adds facts that a resumed run must share, and refuses weights that are not finite."""
        bad = not_finite(checkpoint['state_dict'].items())
        if bad:
            raise CheckpointError(
                'checkpoint',
                f'weights that are not finite ({", ".join(bad[:3])})',
                'finite weights',
                'the last checkpoint stands: lower the learning rate or clip the gradients, and '
                'resume from it',
            )
        checkpoint['meta'].update(
            processes=runner.world_size, iterations_an_epoch=len(runner.train_dataloader)
        )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuses to resume if the checkpoint is of a different run."""
        if not runner._resume:
            return
        meta = checkpoint.get('meta', {})
        training = {'meta', 'message_hub', 'optimizer'} <= set(checkpoint)
        if not training or 'epoch' not in meta or 'iter' not in meta:
            raise CheckpointError(
                'the checkpoint to resume',
                'weights only' if not training else 'no epoch and iteration',
                'a checkpoint of a training, such as epoch_N.pth',
                'use it as load_from to begin a new training with its weights',
            )
        now = {'processes': runner.world_size, 'iterations_an_epoch': len(runner.train_dataloader)}
        for name, value in now.items():
            if meta.get(name, value) != value:
                raise CheckpointError(
                    'the checkpoint to resume',
                    f'{name.replace("_", " ")}: {meta[name]}',
                    f'{value}, as this run has',
                    'resume with the same number of processes, batch size and clips; or use it as '
                    'load_from to begin a new schedule with its weights',
                )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Like MMEngine, but in this order: save, update ``last_checkpoint``, remove the oldest."""
        outdated = None
        if self.max_keep_ckpts > 0 and (not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step):
            kept = list(self.keep_ckpt_ids)
            if len(kept) == self.max_keep_ckpts:
                outdated = kept.pop(0)
            self.keep_ckpt_ids = deque([*kept, step], self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        runner.message_hub.update_info('outdated_ckpt', outdated)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if not is_main_process():
            return
        write_text(Path(runner.work_dir) / 'last_checkpoint', self.last_ckpt)
        self._remove_outdated(outdated)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """As in MMEngine, but the former best checkpoints are removed at the end."""
        if not self.save_best:
            return
        self.check_save_best(metrics)
        former = self._best()
        # Without their paths MMEngine removes nothing before it saves.
        if hasattr(self, 'best_ckpt_path'):
            self.best_ckpt_path = None
        else:
            self.best_ckpt_path_dict = dict.fromkeys(self.best_ckpt_path_dict)
        super()._save_best_checkpoint(runner, metrics)
        for key, path in former.items():
            if self._best().get(key) is None:
                self._set_best(key, path)
            elif path and path != self._best()[key] and is_main_process():
                self._remove(path)

    def _init_rule(self, rules: list[str | None], key_indicators: list[str]) -> None:
        """As in MMEngine, which takes ``acc/ece`` for one that should be large."""
        rules = rules * len(key_indicators) if len(rules) == 1 else rules
        pairs = zip(rules, key_indicators, strict=True)
        rules = [
            'less' if rule is None and key.endswith(_LESS_IS_BETTER) else rule
            for rule, key in pairs
        ]
        try:
            super()._init_rule(rules, key_indicators)
        except (KeyError, ValueError) as error:
            raise ConfigError(
                'CheckpointHook',
                f'save_best={key_indicators} with rule={rules}',
                "rule='greater' or rule='less' where the name of the metric does not tell",
                'add the rule or correct the name',
            ) from error

    def check_save_best(self, names: Collection[str]) -> None:
        """Refuses a metric of ``save_best`` that is not among names, unless there are none."""
        for name in self.key_indicators if self.save_best and names else ():
            if name != 'auto' and name not in names:
                meant = nearest(name, names)
                raise ConfigError(
                    'CheckpointHook, save_best',
                    f'{name!r}, which the evaluation does not give',
                    f'{meant!r}' if meant else f"'auto' or one of {sorted(names)}",
                    'correct default_hooks.checkpoint.save_best',
                )

    def _best(self) -> dict[str | None, str | None]:
        """Metric → path of its best checkpoint, None → path if there is one metric."""
        if hasattr(self, 'best_ckpt_path'):
            return {None: self.best_ckpt_path}
        return dict(getattr(self, 'best_ckpt_path_dict', {}))

    def _set_best(self, key: str | None, path: str | None) -> None:
        if key is None:
            self.best_ckpt_path = path
        else:
            self.best_ckpt_path_dict[key] = path

    def _remove_outdated(self, step: int | None) -> None:
        if step is not None:
            name = self.filename_tmpl.format(step)
            self._remove(self.file_backend.join_path(self.out_dir, name))

    def _remove(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):
            self.file_backend.rmtree(path)  # of deepspeed


def names_of_metrics(runner: Runner) -> set[str]:
    """Names of the metrics of the runner's validation; none if some are not known before it."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    scored = getattr(getattr(model, 'cls_head', None), 'scored', None)
    metrics = [] if runner.val_loop is None else runner.val_loop.evaluator.metrics
    if scored is None or not all(hasattr(metric, 'names') for metric in metrics):
        return set()
    return {name for metric in metrics for name in metric.names(scored)}
