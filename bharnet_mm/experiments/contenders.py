"""Models for benchmarks: those of the shipped configs and MMAction2's networks."""

from __future__ import annotations

import torch
from mmaction.structures import ActionDataSample
from torch import Tensor

from ..apis.model_zoo import config_folder
from ..engine.config_file import load_config
from ..layouts import SkeletonLayout, get_layout, unified_layout

CLASSES = 120
FRAMES = 64
CELL = 48
#: Inputs of a model: a tensor (stock models) or a dict of them (ours), and the data samples.
Batch = tuple[Tensor | dict[str, Tensor], list[ActionDataSample]]


def shipped(name: str, **overrides) -> dict:
    """The model of a shipped config.

    Args:
        name: Name of the config, such as ``'bharnet_p_ntu120'``.
        **overrides: Changes of the model, with ``__`` for each dot.
    """
    changes = {'model.' + key.replace('__', '.'): value for key, value in overrides.items()}
    return load_config(config_folder() / f'{name}.py', changes).model.to_dict()


def expert(part: str) -> dict:
    """One expert of B alone."""
    other = {'body': 'hand', 'hand': 'body'}[part]
    return shipped(
        'bharnet_b_ntu120', **{f'backbone__{other}': None, 'cls_head__modalities': (part,)}
    )


def unified_skeleton() -> SkeletonLayout:
    """Body and two hands in one graph of 67 joints."""
    return unified_layout(get_layout('kinect_v2'), get_layout('hand'))


def unified_graph() -> dict:
    """The same in the form of MMAction2's ``Graph``."""
    layout = unified_skeleton()
    inward = [
        (layout.index(child), layout.index(parent)) for child, parent in layout.parents.items()
    ]
    root = next(name for name in layout.joints if name not in layout.parents)
    return dict(num_node=layout.num_joints, inward=inward, center=layout.index(root))


def stock(network: str, graph: dict | str) -> dict:
    """Config of one of MMAction2's recognizers."""
    options = {
        'STGCN': dict(graph_cfg=dict(layout=graph, mode='stgcn_spatial')),
        'STGCN++': dict(
            gcn_adaptive='init',
            gcn_with_res=True,
            tcn_type='mstcn',
            graph_cfg=dict(layout=graph, mode='spatial'),
        ),
        'AAGCN': dict(graph_cfg=dict(layout=graph, mode='spatial')),
        'DeGCN': dict(layout=graph),
    }[network]
    kind = network.rstrip('+')
    return dict(
        type='RecognizerGCN',
        backbone=dict(type=kind, **options),
        cls_head=dict(type='GCNHead', num_classes=CLASSES, in_channels=256),
    )


def contenders() -> dict[str, tuple[dict, str]]:
    """Name → model config and kind of input (:func:`make_batch`).

    ``NAME, plain`` gets the input of ``NAME`` with all slots of persons and hands filled. ``NAME,
    torch`` is ``NAME`` without the kernels in C++.
    """
    own = {
        'DeGCN body': (expert('body'), 'both'),
        'DeGCN hand': (expert('hand'), 'both'),
        'BHaRNet-B': (shipped('bharnet_b_ntu120'), 'both'),
        'BHaRNet-P': (shipped('bharnet_p_ntu120'), 'both'),
        'BHaRNet-E': (shipped('bharnet_e_ntu120'), 'both'),
        'BHaRNet light': (shipped('bharnet_light_ntu120'), 'both'),
        'BHaRNet-M': (shipped('bharnet_m_ntu120'), 'rgb'),
    }
    written = ('DeGCN body', 'DeGCN hand', 'BHaRNet-B', 'BHaRNet-P', 'BHaRNet light')
    plain = {f'{name}, plain': (own[name][0], 'plain') for name in written}
    plain |= {f'{name}, torch': own[name] for name in written}
    graph = unified_graph()
    peers = {f'{n} body': (stock(n, 'nturgb+d'), 'stock') for n in ('STGCN', 'STGCN++', 'AAGCN')}
    unified = {f'{n} unified': (stock(n, graph), 'unified') for n in ('STGCN', 'STGCN++', 'AAGCN')}
    unified['DeGCN unified'] = (stock('DeGCN', unified_skeleton()), 'unified')
    return own | plain | peers | unified


def make_batch(kind: str, batch: int, mix: str, frames: int = FRAMES, seed: int = 0) -> Batch:
    """A random batch of NTU's sizes.

    Args:
        kind: What the model takes: ``both`` (ours), ``rgb`` (ours with regions), ``plain`` (as
            ``both`` with every slot marked visible), ``stock`` (bodies for MMAction2's networks) or
            ``unified`` (body and hands as one graph for them).
        batch: Clips.
        mix: ``full``: two persons and four hands in every clip; ``single``: one person and two
            hands; ``real``: two persons in 20 % of the clips, a third of the hands absent.
        frames: Frames of a clip.
        seed: Seed of the random numbers.
    """
    g = torch.Generator().manual_seed(seed)
    body, hand = (torch.randn(batch, i, frames, v, 3, generator=g) for i, v in ((2, 25), (4, 21)))
    body_mask = torch.ones(batch, 2, frames, dtype=torch.bool)
    hand_mask = torch.ones(batch, 4, frames, dtype=torch.bool)
    if mix == 'single':  # one person, two hands
        body_mask[:, 1], hand_mask[:, 2:] = False, False
    elif mix == 'real':  # one person in 80 % of the clips, a third of the hands absent
        body_mask[torch.arange(batch) >= max(round(0.2 * batch), 1), 1] = False
        hand_mask[torch.rand(batch, 4, generator=g) < 1 / 3] = False
        hand_mask &= body_mask.repeat_interleave(2, 1)
    labels = torch.randint(0, CLASSES, (batch,), generator=g)
    samples = [ActionDataSample().set_gt_label(int(y)) for y in labels]
    body = body * body_mask[..., None, None]
    hand = hand * hand_mask[..., None, None]
    if kind == 'plain':  # absent slots are computed too
        body_mask, hand_mask = torch.ones_like(body_mask), torch.ones_like(hand_mask)
    inputs = dict(body=body, body_mask=body_mask, hand=hand, hand_mask=hand_mask)
    if kind == 'rgb':
        inputs['rgb'] = torch.randn(batch, 3, 5 * CELL, 5 * CELL, generator=g)
        inputs['rgb_mask'] = torch.ones(batch, 5, 5, dtype=torch.bool)
    if kind in ('both', 'plain', 'rgb'):
        return inputs, samples
    if kind == 'unified':
        hands = hand.unflatten(1, (2, 2)).transpose(2, 3).flatten(3, 4)
        body = torch.cat((body, hands), dim=3)
    return body[:, None], samples  # (N, clips, M, T, V, C)


def to_device(batch: Batch, device: torch.device | str) -> Batch:
    """The batch with its inputs on the device."""
    inputs, samples = batch
    if isinstance(inputs, dict):
        return {name: x.to(device) for name, x in inputs.items()}, samples
    return inputs.to(device), samples
