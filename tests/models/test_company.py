"""A clip's logits depend on the clips beside it by rounding only, as docs/reliability.md states."""

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny_sample import ROOT

CLIPS = 6


def test_logits_hardly_depend_on_the_batch():
    init_default_scope('mmaction')
    cfg = Config.fromfile(ROOT / 'configs/bharnet_p_sample.py').model
    torch.manual_seed(0)
    model = MODELS.build(cfg).eval()
    for name, value in model.named_buffers():
        if name.endswith('running_var'):
            value.uniform_(0.5, 2)
    inputs = {}
    for part, instances, joints in (('body', 2, 25), ('hand', 4, 21)):
        channels = cfg.backbone[part].get('in_channels', 3)
        inputs[part] = torch.randn(CLIPS, instances, 16, joints, channels)
        mask = torch.rand(CLIPS, instances, 16) > 0.3
        mask[::2, 1] = False
        inputs[f'{part}_mask'] = mask

    def logits(rows):
        part = {name: value[rows] for name, value in inputs.items()}
        features, _ = model.extract_feat(part, stage='backbone')
        found = model.cls_head(features)
        return {name: torch.stack([*value], 1) for name, value in found.items()}  # (N, ...)

    with torch.no_grad():
        together = logits(slice(None))
        for i in range(CLIPS):
            alone = logits(slice(i, i + 1))
            for name, value in alone.items():
                limit = 1e-5 * float(together[name].abs().max())
                assert float((value[0] - together[name][i]).abs().max()) <= limit, name
