# DeGCN's recipe: 80 epochs, 5 of warm-up, cosine until its end is near, then two steps. Another
# number of epochs keeps the shares of cosine and steps.
_base_ = '../default_runtime.py'

max_epochs = 80
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_begin=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    # fused: all parameters in one pass
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=4e-4, fused=True)
)
warmup = min(5, max(max_epochs // 2, 1))
cosine_end = max(round(0.65 * max_epochs), warmup + 1)
steps = [max(round(share * max_epochs), 1) for share in (0.75, 0.9375)]
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, begin=0, end=warmup),
    dict(type='CosineAnnealingLR', T_max=steps[0], eta_min=0, begin=warmup, end=cosine_end),
    dict(
        type='MultiStepLR',
        milestones=steps,
        gamma=0.1,
        begin=cosine_end,
        end=max(max_epochs, cosine_end + 1),
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=64)
