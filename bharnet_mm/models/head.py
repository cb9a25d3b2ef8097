"""BHaRNet's head: branches, joint losses and fusion."""

from collections.abc import Sequence

import torch
from mmaction.registry import MODELS
from mmaction.utils import SampleList
from mmengine.model import BaseModule
from torch import Tensor, nn

from .. import fusion as rules
from ..errors import ConfigError
from .instances import Instances
from .losses import expert_loss, noisy_or_loss
from .rgb import RegionFeatures

Features = dict[str, list[Instances | RegionFeatures]]

#: Kinds of branches. `vanilla` and `interactive` have their modality's own loss; `expertized` only
# takes part in losses of several branches.
BRANCHES = ('vanilla', 'interactive', 'expertized')
MODALITIES = ('body', 'hand', 'rgb')
FUSIONS = (*rules.METHODS, *MODALITIES)


@MODELS.register_module()
class BHaRNetHead(BaseModule):
    r"""Fuses the experts' logits and trains them together.

    .. math::
        L = \sum_i L_i + \lambda_{cpl} \mathrm{CE}\big(\sum_i z_i\big) + \lambda_{nor} L_{nor},
        \quad i \in \{B, H\} \text{ and, in M, rgb}

    The variants differ in the branches on each modality's streams: B has ``('vanilla',)``; P
    ``('interactive',)``, whose features are pooled by :class:`PoolingAttention`; E
    ``('interactive', 'expertized')`` on a two-stream backbone. The rgb modality of M always has one
    vanilla branch. The logits of a modality are the sum over its branches. ``L_i`` are cross
    entropies of the vanilla or interactive branches (of each stream if there are two, as in DeGCN).
    The expertized branches have no loss of their own; they learn from the fused losses and from
    ``loss_alone``. ``L_nor`` is :func:`noisy_or_loss`.

    Args:
        num_classes (int): Classes.
        in_channels (int | dict, optional): Channels of a stream's features, for all or
            ``dict(body=, hand=, rgb=)``. :class:`BHaRNet` fills them from its networks.
        branches (Sequence[str]): One for each stream of the backbone, see above. Defaults to
            ``('vanilla',)``.
        attention (dict, optional): Config of the :class:`PoolingAttention` of the interactive
            branches. Its channels are those of the features; :class:`BHaRNet` fills joints and
            frames.
        modalities (Sequence[str]): Some of body, hand and rgb. Defaults to ``('body', 'hand')``,
            and in :class:`BHaRNet` to its experts. With one modality it is a plain classifier.
        coupled (Sequence[str], optional): The modalities in the fused losses. Defaults to all.
        loss_cpl (float): :math:`\lambda_{cpl}`. Defaults to 1.0 (our choice; the papers' value is
            unknown).
        loss_nor (float): :math:`\lambda_{nor}`. Defaults to 0.0.
        loss_weights (dict, optional): Weight of the own loss of a modality. Defaults to 1 each.
        label_smoothing (float): Label smoothing of the cross entropies. Defaults to 0.1, as in
            DeGCN.
        classifier (dict, optional): Config of the classifier on the pooled features of a branch.
            Defaults to :class:`ExpertBranch`.
        fusion (str): Fusion at test time: ``'sum'`` of logits, ``'mean_prob'``, ``'noisy_or'``, or
            one modality alone. Defaults to ``'sum'``.
        fusion_weights (dict, optional): Weight of each modality in ``sum`` and ``mean_prob``; given
            ones (1 for those not named) stay as they are. By default they are those of the
            checkpoint that is loaded: 1 each, or what ``tools/train.py --fit-fusion`` found on
            training clips that the experts had not seen.
        loss_alone (float): Weight of a second cross entropy in ``L_i`` if branches are interactive:
            of what the expert predicts if the other one is missing. Interactive branches then
            classify the plain average of their features; expertized ones are added as always.
            Defaults to 0.

    Raises:
        ConfigError: For branches, fusions or labels that do not fit.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int | dict | None = None,
        branches: Sequence[str] = ('vanilla',),
        attention: dict | None = None,
        modalities: Sequence[str] = ('body', 'hand'),
        coupled: Sequence[str] | None = None,
        loss_cpl: float = 1.0,
        loss_nor: float = 0.0,
        loss_weights: dict | None = None,
        label_smoothing: float = 0.1,
        classifier: dict | None = None,
        fusion: str = 'sum',
        fusion_weights: dict | None = None,
        loss_alone: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        coupled = modalities if coupled is None else coupled
        self._given_weights = bool(fusion_weights)
        fusion_weights = dict(fusion_weights or {})
        self.loss_weights = dict(loss_weights or {})
        given = (fusion_weights, self.loss_weights)
        self._check(branches, attention, modalities, coupled, fusion, given)
        modalities = tuple(name for name in MODALITIES if name in modalities)
        self.num_classes, self.modalities, self.branches = num_classes, modalities, tuple(branches)
        self.coupled = tuple(name for name in modalities if name in coupled)
        self.loss_cpl, self.loss_nor, self.label_smoothing = loss_cpl, loss_nor, label_smoothing
        self.loss_alone = loss_alone
        self.fusion = fusion
        weights = torch.tensor([float(fusion_weights.get(name, 1)) for name in modalities])
        self.register_buffer('fusion_weight', weights)
        widths = self._widths(in_channels, modalities)
        classifier = dict(classifier or dict(type='ExpertBranch'))
        self.classifiers = nn.ModuleDict(
            {
                name: nn.ModuleList(
                    MODELS.build(
                        dict(in_channels=widths[name], num_classes=num_classes) | classifier
                    )
                    for _ in self._of(name)
                )
                for name in modalities
            }
        )
        self.attentions = nn.ModuleList(
            MODELS.build(
                dict(
                    type='PoolingAttention',
                    body_channels=widths['body'],
                    hand_channels=widths['hand'],
                )
                | attention
            )
            for branch in branches
            if branch == 'interactive'
        )

    @staticmethod
    def _widths(in_channels: int | dict | None, modalities: Sequence[str]) -> dict[str, int]:
        same = dict.fromkeys(modalities, in_channels)
        given = in_channels if isinstance(in_channels, dict) else same
        widths = {name: given.get(name) for name in modalities}
        if None in widths.values():
            raise ConfigError(
                'BHaRNetHead',
                f'in_channels={in_channels} for the modalities {tuple(modalities)}',
                'the channels of the features of each',
                'give in_channels, or build the head by a BHaRNet, which knows them',
            )
        return widths

    @staticmethod
    def _check(branches, attention, modalities, coupled, fusion, weights) -> None:
        where = 'BHaRNetHead'
        if not branches or set(branches) - set(BRANCHES) or set(branches) == {'expertized'}:
            raise ConfigError(
                where,
                f'branches={tuple(branches)}',
                f'some of {BRANCHES}, not all expertized',
                'name one branch for each stream',
            )
        if not modalities or set(modalities) - set(MODALITIES):
            raise ConfigError(
                where, f'modalities={tuple(modalities)}', f'some of {MODALITIES}', 'correct it'
            )
        if set(coupled) - set(modalities):
            raise ConfigError(
                where, f'coupled={tuple(coupled)}', f'some of {modalities=}', 'correct coupled'
            )
        if fusion not in FUSIONS or (fusion in MODALITIES and fusion not in modalities):
            raise ConfigError(
                where, f'{fusion=}', f'one of {FUSIONS} that is in modalities', 'correct fusion'
            )
        if any(set(given) - set(MODALITIES) for given in weights):
            raise ConfigError(
                where,
                f'the weights {weights}',
                f'of fusion and losses of some of {MODALITIES}',
                'correct the names',
            )
        both = {'body', 'hand'} <= set(modalities)
        if 'interactive' in branches and (attention is None or not both):
            raise ConfigError(
                where,
                f'an interactive branch with {attention=} and modalities={tuple(modalities)}',
                'an attention config, a body and a hand',
                "give attention=dict(body_joints=...), or use 'vanilla' branches",
            )

    @property
    def fusion_weights(self) -> dict[str, float]:
        """Modality → weight of its logits in the fused prediction."""
        return dict(zip(self.modalities, self.fusion_weight.tolist(), strict=True))

    @fusion_weights.setter
    def fusion_weights(self, weights: dict[str, float]) -> None:
        self.fusion_weight.copy_(torch.tensor([float(weights[name]) for name in self.modalities]))

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        # Given weights stay; earlier versions have none, and those of other experts do not fit.
        key = f'{prefix}fusion_weight'
        fits = key in state_dict and state_dict[key].shape == self.fusion_weight.shape
        if self._given_weights or not fits:
            state_dict[key] = self.fusion_weight.clone()
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _of(self, name: str) -> tuple[str, ...]:
        """The branches of a modality."""
        return ('vanilla',) if name == 'rgb' else self.branches

    def forward(self, features: Features) -> dict[str, list[Tensor]]:
        """Logits of every branch: dict of modality → list of ``(N, K)``, zero for a clip without an
        instance of the modality.
        """
        return self._logits(features)

    def _logits(self, features: Features, alone: bool = False) -> dict[str, list[Tensor]]:
        """The logits of :meth:`forward`. With ``alone`` those of interactive branches are ``(2, N,
        K)``: in the clip, and if the other stream were missing.
        """
        for name in self.modalities:
            if len(features[name]) != len(self._of(name)):
                raise ConfigError(
                    'BHaRNetHead',
                    f'{len(features[name])} streams of the {name}',
                    f'{len(self._of(name))}, one for each of branches={self._of(name)}',
                    "set the backbone's num_stream to the number of branches",
                )
        interactive = [i for i, branch in enumerate(self.branches) if branch == 'interactive']
        attended = {}
        for i, attention in zip(interactive, self.attentions, strict=True):
            pair = attention(features['body'][i], features['hand'][i], alone)
            attended[i] = dict(zip(('body', 'hand'), pair, strict=True))
        logits = {}
        for name in self.modalities:
            present = features[name][0].present()
            logits[name] = [
                fc(attended[i][name] if branch == 'interactive' else stream.pool(), present)
                for i, (fc, stream, branch) in enumerate(
                    zip(self.classifiers[name], features[name], self._of(name), strict=True)
                )
            ]
        return logits

    def loss(self, features: Features, data_samples: SampleList, **kwargs) -> dict[str, Tensor]:
        """Losses, and the top-1 accuracy of each expert and of their sum on the batch (not
        optimised, logged).
        """
        target = self._targets(data_samples, features)
        branches = self._logits(features, alone=self.loss_alone > 0)
        logits = {name: [z[0] if z.dim() > 2 else z for z in branches[name]] for name in branches}
        present = {name: features[name][0].present() for name in self.modalities}
        experts = {name: sum(logits[name]) for name in self.modalities}
        # Each term: name and weight of the loss, logits, and the clips in which they are present.
        terms: list[tuple[str, float, Tensor, Tensor]] = []
        for name in self.modalities:
            weight, mask = self.loss_weights.get(name, 1), present[name]
            own, _ = self._by_kind(name, logits[name])
            for z in [sum(own)] + (own if len(own) > 1 else []):
                terms.append((f'loss_{name}', weight, z, mask))
            if any(z.dim() > 2 for z in branches[name]):
                alone = sum(z[1] if z.dim() > 2 else z for z in branches[name])
                terms.append((f'loss_{name}', weight * self.loss_alone, alone, mask))
        losses: dict[str, Tensor] = {}
        if len(self.coupled) > 1 or 'expertized' in self.branches:
            some = torch.stack([present[name] for name in self.coupled]).any(0)
            fused = sum(experts[name] for name in self.coupled)
            terms.append(('loss_cpl', self.loss_cpl, fused, some))
            if self.loss_nor:
                members, masks = self._members(logits, present, self.coupled)
                losses['loss_nor'] = self.loss_nor * noisy_or_loss(members, masks, target)
        # All cross entropies are computed at once.
        values = expert_loss(
            torch.stack([z for _, _, z, _ in terms]),
            torch.stack([mask for _, _, _, mask in terms]),
            target,
            self.label_smoothing,
        )
        for (name, weight, _, _), value in zip(terms, values, strict=True):
            value = value if weight == 1 else weight * value
            losses[name] = losses[name] + value if name in losses else value
        with torch.no_grad():
            z = torch.stack([*experts.values(), sum(experts.values())])
            right = (z.argmax(-1) == target).float().mean(-1)
            for name, value in zip((*experts, 'fused'), right, strict=True):
                losses[f'top1_{name}'] = value
        return losses

    def predict(self, features: Features, data_samples: SampleList, **kwargs) -> SampleList:
        """Writes the prediction to the data samples.

        Each gets ``pred_score`` (fused probabilities, ``(K,)``), ``pred_label``, the logits of each
        expert (``body_logits`` and so on) and their sum ``fused_logits``; with expertized branches
        also the logits of each branch (``body_interactive_logits``, ``body_expertized_logits``).
        """
        answers = self.answers(features)
        scores = answers.pop('pred_score')
        labels = scores.argmax(-1, keepdim=True)
        rows = zip(data_samples, scores, labels, *answers.values(), strict=True)
        for sample, score, label, *logits in rows:
            sample.set_pred_score(score).set_pred_label(label)
            for name, z in zip(answers, logits, strict=True):
                sample.set_field(z, name)
        return data_samples

    @property
    def scored(self) -> tuple[str, ...]:
        """Names of the logits of :meth:`answers`, without ``_logits``: experts, branches, sum."""
        split = [name for name in self.modalities if 'expertized' in self._of(name)]
        branches = [f'{name}_{branch}' for name in split for branch in self.branches]
        return (*self.modalities, *branches, 'fused')

    def answers(self, features: Features) -> dict[str, Tensor]:
        """What :meth:`predict` writes: name → ``(N, K)`` float32, the logits and ``pred_score``."""
        logits = self.forward(features)
        present = {name: features[name][0].present() for name in self.modalities}
        experts = [sum(logits[name]).float() for name in self.modalities]
        # If the branches are separate experts in the Noisy-OR, a score file has each of them.
        split = [logits[name] for name in self.modalities if 'expertized' in self._of(name)]
        found = [*experts, *(z.float() for own in split for z in own), sum(experts)]
        values = {f'{name}_logits': z for name, z in zip(self.scored, found, strict=True)}
        return values | dict(pred_score=self.fuse(logits, present))

    def fuse(
        self,
        logits: dict[str, list[Tensor]],
        present: dict[str, Tensor],
        fusion: str | None = None,
    ) -> Tensor:
        """Probabilities of the fused prediction, by the rules of :func:`bharnet_mm.fusion.fuse`.

        Args:
            logits: Modality → ``(N, K)``, one a branch, as :meth:`forward` gives them.
            present: Modality → ``(N,)`` bool, the clips in which it has an instance.
            fusion: One of ``FUSIONS``; by default the head's own.

        Returns:
            ``(N, K)``. An absent expert has no influence. If no expert is present, all classes are
            equally likely.
        """
        fusion = fusion or self.fusion
        if fusion == 'noisy_or':
            members = self._members(logits, present, self.modalities)
            return rules.fuse(*members, method=fusion).exp()
        alone = fusion in self.modalities
        names = (fusion,) if alone else self.modalities
        return rules.fuse(
            [sum(logits[name]) for name in names],
            [present[name] for name in names],
            None if alone else self.fusion_weight,
            'sum' if alone else fusion,
        ).exp()

    def _by_kind(self, name: str, logits: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """A modality's logits of the branches with their own loss, and of the expertized ones."""
        kinds = list(zip(logits, self._of(name), strict=True))
        return (
            [z for z, branch in kinds if branch != 'expertized'],
            [z for z, branch in kinds if branch == 'expertized'],
        )

    def _members(
        self,
        logits: dict[str, list[Tensor]],
        present: dict[str, Tensor],
        modalities: Sequence[str],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The members of the Noisy-OR: each modality's own branches together, and each expertized
        branch (so four in E).
        """
        members, masks = [], []
        for name in modalities:
            own, expertized = self._by_kind(name, logits[name])
            members += [sum(own), *expertized]
            masks += [present[name]] * (1 + len(expertized))
        return members, masks

    def _targets(self, data_samples: SampleList, features: Features) -> Tensor:
        device = features[self.modalities[0]][0].x.device
        target = torch.cat([sample.gt_label.reshape(-1) for sample in data_samples])
        if target.device.type == 'cpu':
            self.check_labels(target, data_samples)
        else:  # without waiting for the device
            torch._assert_async(((target >= 0) & (target < self.num_classes)).all())
        return target.to(device, non_blocking=True)

    def check_labels(self, labels: Tensor, data_samples: SampleList) -> None:
        """Refuses labels outside the classes. This is done on the host, since a GPU would raise a
        device-side assertion without the clip's name.

        Raises:
            ConfigError: A label is outside the classes; the message names the first such clip.
        """
        wrong = ((labels < 0) | (labels >= self.num_classes)).nonzero().flatten().tolist()
        if wrong:
            sample = data_samples[wrong[0]]
            raise ConfigError(
                f'clip {sample.metainfo.get("clip_id", "?")!r}',
                f'label {int(labels[wrong[0]])}',
                f'0 to {self.num_classes - 1}',
                "set the head's num_classes to the number of classes of the data set",
            )
