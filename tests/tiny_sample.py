"""A small store of the synthetic sample and a small BHaRNet on it, for tests that train."""

from pathlib import Path

from bharnet_mm.datasets.synthetic.sample import write_sample

ROOT = Path(__file__).resolve().parents[1]
TRAIN_CLIPS = 80
BATCH_SIZE = 12

CONFIG = """
_base_ = {base!r}
small = dict(base_channels=16, num_blocks=2, widen_at=(2,), stride_at=(2,))
model = dict(
    backbone=dict(body=small, hand=small),
    cls_head=dict({head}),
)
train_cfg = dict(max_epochs={epochs}, val_interval=1)
train_dataloader = dict(batch_size={batch_size}, dataset=dict(store={store!r}))
val_dataloader = dict(dataset=dict(store={store!r}))
test_dataloader = dict(dataset=dict(store={store!r}))
default_hooks = dict(logger=dict(interval=1))
"""


def write_tiny_sample(folder: Path, epochs: int = 2, variant: str = 'p') -> Path:
    """Writes 128 clips, ``TRAIN_CLIPS`` of them for training, and a config; returns its path."""
    store = folder / 'store'
    write_sample(store, clips_per_class=8)
    config = folder / 'tiny.py'
    base = str(ROOT / f'configs/bharnet_{variant}_sample.py')
    head = '' if variant in ('b', 'm') else 'attention=dict(embed_dims=16)'
    values = dict(head=head, base=base, store=str(store), epochs=epochs, batch_size=BATCH_SIZE)
    config.write_text(CONFIG.format(**values))
    return config
