"""Two processes on the CPU: the same training step as one, and the tools under their launchers."""

import json
import math
import os
import socket

import torch
from command import run, scalars
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from tiny_sample import BATCH_SIZE, ROOT, TRAIN_CLIPS, write_tiny_sample
from torch import nn

CLIPS, PERSONS, FRAMES = 4, 2, 16


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def make_model():
    """A small BHaRNet-E with rgb in which every path is in use: batch norms are frozen and nothing
    is dropped at random, which processes would do differently.
    """
    init_default_scope('mmaction')
    cfg = Config.fromfile(ROOT / 'configs/bharnet_e_sample.py').model
    for part in ('body', 'hand'):
        small = dict(base_channels=16, num_blocks=3, widen_at=(2,), stride_at=(3,), split_at=1)
        cfg.backbone[part].update(small)
    cfg.backbone.hand.in_channels = 3
    cfg.update(type='BHaRNetM', rgb=Config.fromfile(ROOT / 'configs/bharnet_m_sample.py').model.rgb)
    cfg.rgb.detach = False
    cfg.cls_head.update(
        in_channels=dict(body=32, hand=32, rgb=64),
        modalities=('body', 'hand', 'rgb'),
        loss_nor=0.1,
    )
    torch.manual_seed(3)
    model = MODELS.build(cfg).double().train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
    for parameter in model.parameters():  # some start at zero, and with them whole branches
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def make_batch():
    """Four clips; the last two show no hand, the first and the last no second person, the first
    two no region.
    """
    random = torch.Generator().manual_seed(5)

    def part(instances, joints):
        x = torch.randn(CLIPS, instances, FRAMES, joints, 3, generator=random, dtype=torch.float64)
        return x, torch.rand(CLIPS, instances, FRAMES, generator=random) > 0.2

    body, body_mask = part(PERSONS, 25)
    hand, hand_mask = part(2 * PERSONS, 21)
    body_mask[[0, 3], 1] = False
    hand_mask[CLIPS // 2 :] = False
    rgb = torch.randint(256, (CLIPS, 3, 60, 36), generator=random).byte()
    rgb_mask = torch.rand(CLIPS, 5, 3, generator=random) > 0.2
    rgb_mask[: CLIPS // 2] = False
    samples = []
    for i in range(CLIPS):
        samples.append(ActionDataSample(metainfo=dict(clip_id=f'clip{i}')).set_gt_label(2 * i))
    inputs = dict(body=body, body_mask=body_mask, hand=hand, hand_mask=hand_mask)
    inputs |= dict(rgb=rgb, rgb_mask=rgb_mask)
    return inputs, samples


def step(model, optim_wrapper, clips):
    inputs, samples = make_batch()
    inputs = {name: list(value[clips]) for name, value in inputs.items()}
    return model.train_step(dict(inputs=inputs, data_samples=samples[clips]), optim_wrapper)


OPTIM_WRAPPER = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=4e-4))


def one_of_two(rank, port, folder):
    """What each process runs: as the runner sets things up, on its half of the batch."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE='2',
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    runner = Runner(
        make_model(),
        str(folder / 'work_dir'),
        launcher='pytorch',
        env_cfg=dict(dist_cfg=dict(backend='nccl')),
        log_level='ERROR',
    )
    assert type(runner.model).__name__ == 'MMDistributedDataParallel'
    half = CLIPS // 2
    optim_wrapper = runner.build_optim_wrapper(OPTIM_WRAPPER)
    step(runner.model, optim_wrapper, slice(rank * half, (rank + 1) * half))
    torch.save(runner.model.module.state_dict(), folder / f'rank{rank}.pth')


def test_step_is_that_of_one_process(tmp_path):
    torch.multiprocessing.spawn(one_of_two, (free_port(), tmp_path), nprocs=2)
    found = [torch.load(tmp_path / f'rank{rank}.pth', weights_only=True) for rank in range(2)]

    model = make_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    runner = Runner(model, str(tmp_path / 'one'), log_level='ERROR')
    step(model, runner.build_optim_wrapper(OPTIM_WRAPPER), slice(None))

    parameters = dict(model.named_parameters())
    for name, weight in model.state_dict().items():
        assert torch.equal(found[0][name], found[1][name]), f'{name} differs between the processes'
        wanted, moved = weight - before[name], found[0][name] - before[name]
        # The losses are computed in float32, all else in float64.
        assert (moved - wanted).abs().max() <= 1e-6 * wanted.abs().max(), name
        assert (name in parameters) == bool(wanted.any()), f'{name} moved or not, against its kind'


def test_tools_with_two_processes(tmp_path):
    config = write_tiny_sample(tmp_path, epochs=2)
    arguments = (config, 2, '--work-dir', tmp_path / 'train')
    run('tools/dist_train.sh', *arguments, PORT=str(free_port()))
    lines = scalars(tmp_path / 'train')
    losses = [line['loss'] for line in lines if 'loss' in line]
    assert len(losses) == 2 * math.ceil(TRAIN_CLIPS / 2 / BATCH_SIZE)  # half of the clips each
    assert losses[-1] < losses[0]

    checkpoint = tmp_path / 'train/epoch_2.pth'
    arguments = (config, checkpoint, 2, '--work-dir', tmp_path / 'test')
    run('tools/dist_test.sh', *arguments, PORT=str(free_port()))
    (report,) = (file for file in (tmp_path / 'test').glob('*/*.json'))
    validated = [line for line in lines if 'acc/top1' in line][-1]
    assert accuracies(json.loads(report.read_text())) == accuracies(validated)


def accuracies(values):
    return {name: value for name, value in values.items() if name.startswith('acc/')}
