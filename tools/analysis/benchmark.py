"""Speed and memory of the networks: ours, their plain form, and MMAction2's own.

python tools/analysis/benchmark.py --out docs/benchmark

Each contender lives in a process of its own, which gives its peak memory; one process works at a
time, round after round in turn, so that whatever else the machine does hits all alike. Reported are
medians and the range of the middle half. Compare ratios of one run, not rates of two.

`NAME, plain` is the same network as published code writes it: 1x1 convolutions by conv2d, gathered
samples, batch norm by itself, and every slot of persons and hands computed, absent or not. `NAME, torch`
is ours without the kernels in C++ (bharnet_mm/ops/native), which the plain form never uses.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import time
from pathlib import Path

import numpy as np

import bharnet_mm.models  # mends the platform before MMAction2 is imported

CLASSES = 120
FRAMES = 64
CELL = 48
ATTENTION = dict(body_joints=25)


def degcn(part: str, **options) -> dict:
    """Config of an expert's network."""
    layout = {'body': 'kinect_v2', 'hand': 'hand'}[part]
    return dict(type='DeGCN', layout=layout, **options)


def bharnet(
    branches: tuple[str, ...] = ('vanilla',), parts: tuple[str, ...] = ('body', 'hand'), **options
) -> dict:
    """Config of a recognizer of ours."""
    attention = ATTENTION if 'interactive' in branches else None
    width = 4 * options.get('base_channels', 64)
    return dict(
        type='BHaRNet',
        backbone=dict(
            type='BodyHandBackbone',
            **{p: degcn(p, **options) if p in parts else None for p in ('body', 'hand')},
        ),
        cls_head=dict(
            type='BHaRNetHead',
            num_classes=CLASSES,
            in_channels=width,
            branches=branches,
            attention=attention,
            modalities=parts,
        ),
    )


def bharnet_m() -> dict:
    """Config of BHaRNet-M: P and ResNet-18 on a grid of regions."""
    config = bharnet(('interactive',))
    config['type'] = 'BHaRNetM'
    config['rgb'] = dict(type='BodyGuidedRGB', backbone=dict(type='ResNet', depth=18))
    config['cls_head'] |= dict(
        in_channels=dict(body=256, hand=256, rgb=512), modalities=('body', 'hand', 'rgb')
    )
    return config


def unified_skeleton():
    """Body and two hands in one graph of 67 joints."""
    from bharnet_mm.layouts import get_layout, unified_layout

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
    """Name → config and input: ``both``, ``rgb``, ``plain`` (ours), ``stock`` or ``unified``."""
    own = {
        'DeGCN body': (bharnet(parts=('body',)), 'both'),
        'DeGCN hand': (bharnet(parts=('hand',)), 'both'),
        'BHaRNet-B': (bharnet(), 'both'),
        'BHaRNet-P': (bharnet(('interactive',)), 'both'),
        'BHaRNet-E': (bharnet(('interactive', 'expertized'), num_stream=2, split_at=3), 'both'),
        'BHaRNet light': (bharnet(('interactive',), base_channels=32), 'both'),
        'BHaRNet-M': (bharnet_m(), 'rgb'),
    }
    written = ('DeGCN body', 'DeGCN hand', 'BHaRNet-B', 'BHaRNet-P', 'BHaRNet light')
    plain = {f'{name}, plain': (own[name][0], 'plain') for name in written}
    plain |= {f'{name}, torch': own[name] for name in written}
    graph = unified_graph()
    peers = {f'{n} body': (stock(n, 'nturgb+d'), 'stock') for n in ('STGCN', 'STGCN++', 'AAGCN')}
    unified = {f'{n} unified': (stock(n, graph), 'unified') for n in ('STGCN', 'STGCN++', 'AAGCN')}
    unified['DeGCN unified'] = (stock('DeGCN', unified_skeleton()), 'unified')
    return own | plain | peers | unified


def make_batch(kind: str, batch: int, mix: str, frames: int = FRAMES, seed: int = 0):
    """Inputs and data samples: two persons and four hands in every clip, or the mix of real clips."""
    import torch
    from mmaction.structures import ActionDataSample

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
    if kind == 'plain':  # the slots of the absent are computed like all others
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


def to_device(batch, device):
    """The batch with its inputs on the device."""
    inputs, samples = batch
    if isinstance(inputs, dict):
        return {name: x.to(device) for name, x in inputs.items()}, samples
    return inputs.to(device), samples


def count_macs(model, inputs) -> dict[str, float]:
    """Multiply-adds of one clip in units of 1e9, in the plain form, by torch's operator counter: in
    all, and of body, hand, rgb and what joins them.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def count(module, inputs, **options) -> tuple[float, dict]:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(inputs, **options)
        by_module = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
        return counter.get_total_flops() / 2e9, by_module

    total, by_module = count(model.extract_feat, inputs, stage='head')
    if not isinstance(inputs, dict):
        return dict(gmacs=total, gmacs_parts={})
    parts = {}
    for part in model.backbone.experts:
        others = {
            name: mask & name.startswith(part)
            for name, mask in inputs.items()
            if name in ('body_mask', 'hand_mask')
        }
        parts[part] = count(model.backbone, inputs | others)[0]
    if 'BodyGuidedRGB' in by_module:
        parts['rgb'] = by_module['BodyGuidedRGB'] / 2e9
    parts['fusion'] = total - sum(parts.values())
    return dict(gmacs=total, gmacs_parts=parts)


def memory_now() -> int:
    """Bytes in memory; the process's high-water mark (Linux) counts anew from here."""
    Path('/proc/self/clear_refs').write_text('5')
    return int(Path('/proc/self/status').read_text().split('VmRSS:')[1].split()[0]) * 1024


def work(connection, name: str, options: argparse.Namespace) -> None:
    """A contender's process: builds it, then runs one round a message."""
    import mmaction.models  # noqa: F401
    import torch
    from mmaction.registry import MODELS
    from mmengine.registry import init_default_scope

    init_default_scope('mmaction')
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if name.endswith((', plain', ', torch')):
        os.environ['BHARNET_NATIVE'] = '0'
    config, kind = contenders()[name]
    model = MODELS.build(config)
    if name.endswith(', plain'):
        bharnet_mm.models.use_plain_form(model)
    device = torch.device(options.device)
    batch = make_batch(kind, options.batch, options.mix, options.frames)
    inputs, samples = to_device(batch, device)
    model = model.to(device)
    model.train(options.mode == 'train')
    if options.compile:
        for module in model.modules():
            if hasattr(module, 'forward_features'):  # ours: what follows depends on data
                module.forward_features = torch.compile(module.forward_features)
            elif module is model.backbone and kind in ('stock', 'unified'):
                module.forward = torch.compile(module.forward)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=options.dtype == 'bf16'):
            if options.mode == 'inference':
                with torch.no_grad():
                    model(inputs, samples, mode='predict')
                return
            losses = model(inputs, samples, mode='loss')
        model.zero_grad(set_to_none=True)
        sum(v for k, v in losses.items() if 'loss' in k).backward()

    def sync() -> None:
        if device.type == 'cuda':
            torch.cuda.synchronize()

    before = memory_now()
    step()
    connection.send(dict(parameters=sum(p.numel() for p in model.parameters())))
    while (message := connection.recv()) is not None:
        if message == 'round':
            start = time.perf_counter()
            step()
            sync()
            connection.send(time.perf_counter() - start)
        elif message == 'memory':
            gpu = torch.cuda.max_memory_allocated() if device.type == 'cuda' else None
            peak = int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) * 1024
            connection.send(dict(memory_mib=(gpu or peak - before) / 2**20))
        elif message == 'macs':
            clip, _ = to_device(make_batch(kind, 1, 'full', options.frames), device)
            connection.send(count_macs(bharnet_mm.models.use_plain_form(model.eval()), clip))


def matrix_peak(threads: int, dtype: str, device: str) -> float:
    """The best rate of a large square product, in GFLOP/s."""
    import torch

    torch.set_num_threads(threads)
    kind = torch.bfloat16 if dtype == 'bf16' else torch.float32
    x = torch.randn(4096, 4096, device=device, dtype=kind)
    times = []
    for _ in range(8):
        start = time.perf_counter()
        x @ x
        if device == 'cuda':
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * 4096**3 / min(times) / 1e9


def run_case(names: list[str], options: argparse.Namespace) -> list[dict]:
    """All contenders under one setting: rows of the table."""
    context = multiprocessing.get_context('spawn')
    links, rows = {}, []
    for name in names:
        here, there = context.Pipe()
        process = context.Process(target=work, args=(there, name, options), daemon=True)
        process.start()
        links[name] = (here, process, here.recv())  # warm: built, and one step done
    seconds = {name: [] for name in names}
    for _ in range(options.rounds):
        for name, (link, _, _) in links.items():
            link.send('round')
            seconds[name].append(link.recv())
    peak = matrix_peak(options.threads, options.dtype, options.device)
    for name, (link, process, facts) in links.items():
        for question in ('memory', 'macs'):
            link.send(question)
            facts |= link.recv()
        link.send(None)
        process.join()
        low, median, high, p99 = np.percentile(seconds[name], [25, 50, 75, 99])
        full = options.batch * facts['gmacs'] * 2 * (3 if options.mode == 'train' else 1)
        rows.append(
            dict(
                contender=name,
                mode=options.mode,
                dtype=options.dtype,
                batch=options.batch,
                mix=options.mix,
                frames=options.frames,
                clips_per_s=options.batch / median,
                clips_per_s_range=[options.batch / high, options.batch / low],
                ms=median * 1e3,
                p99_ms=p99 * 1e3,
                share_of_peak=full / median / peak if options.mix == 'full' else None,
                peak_gflops=peak,
                **facts,
            )
        )
    return rows


def processor() -> str:
    """Name of the processor, as well as the system tells it."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.split(':')[1].strip() for line in lines if line.startswith('model name')]
    return named[0] if named else platform.processor() or platform.machine()


def to_markdown(rows: list[dict]) -> str:
    """The rows as a table."""
    lines = [
        '| contender | mode | batch, mix, frames | dtype | clips/s (middle half) | ms, p50 and p99 | GMACs '
        '| M param. | peak MiB | share of matrix peak |',
        '|---|---|---|---|---|---|---|---|---|---|',
    ]
    for row in rows:
        low, high = row['clips_per_s_range']
        share = '' if row['share_of_peak'] is None else f'{row["share_of_peak"]:.0%}'
        lines.append(
            f'| {row["contender"]} | {row["mode"]} | {row["batch"]}, {row["mix"]}, {row["frames"]} '
            f'| {row["dtype"]} '
            f'| {row["clips_per_s"]:.1f} ({low:.1f}-{high:.1f}) | {row["ms"]:.0f}, {row["p99_ms"]:.0f} '
            f'| {row["gmacs"]:.2f} '
            f'| {row["parameters"] / 1e6:.2f} | {row["memory_mib"]:.0f} | {share} |'
        )
    return '\n'.join(lines) + '\n'


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--contenders', nargs='+', help='default: all')
    parser.add_argument(
        '--modes', nargs='+', default=['inference', 'train'], choices=['inference', 'train']
    )
    parser.add_argument('--dtypes', nargs='+', default=['fp32'], choices=['fp32', 'bf16'])
    parser.add_argument(
        '--cases', nargs='+', default=['32:full'], help='BATCH:MIX with MIX full, real or single'
    )
    parser.add_argument('--frames', type=int, default=FRAMES)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=multiprocessing.cpu_count())
    parser.add_argument('--device', default='cpu', choices=['cpu', 'cuda'])
    parser.add_argument('--compile', action='store_true', help='torch.compile of the backbones')
    parser.add_argument('--out', type=Path, help='writes OUT.json and OUT.md')
    args = parser.parse_args()
    unknown = set(args.contenders or ()) - set(contenders())
    if unknown:
        parser.error(f'unknown contenders {sorted(unknown)}; there are {list(contenders())}')
    names = args.contenders or list(contenders())
    rows = []
    for mode in args.modes:
        for dtype in args.dtypes:
            for batch, mix in (case.split(':') for case in args.cases):
                case = dict(mode=mode, dtype=dtype, batch=int(batch), mix=mix)
                rows += run_case(names, argparse.Namespace(**vars(args) | case))
                print(to_markdown(rows[-len(names) :]), flush=True)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        machine = dict(processor=processor(), threads=args.threads, device=args.device)
        text = json.dumps(dict(machine=machine, rows=rows), indent=1) + '\n'
        args.out.with_suffix('.json').write_text(text)
        args.out.with_suffix('.md').write_text(to_markdown(rows))


if __name__ == '__main__':
    main()
