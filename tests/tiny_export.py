"""A small untrained model with its config, store and exported files, for tests of the export."""

import argparse
from pathlib import Path

import torch
from tiny_sample import write_tiny_sample


def write_untrained(folder: Path, variant: str = 'p') -> tuple[Path, Path]:
    """Config and checkpoint of a small model whose every part has a say."""
    from mmaction.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    config = write_tiny_sample(folder, variant=variant)
    init_default_scope('mmaction')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith('running_var'):
                buffer.mul_(0.5 + torch.rand_like(buffer))
    checkpoint = folder / 'untrained.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
    return config, checkpoint


def arguments(*words) -> argparse.Namespace:
    """What ``bharnet export`` reads from its command line."""
    from bharnet_mm.apis.export import add_arguments

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([str(word) for word in words])
