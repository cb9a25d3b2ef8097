custom_imports = dict(imports=['bharnet_mm'])
default_scope = 'mmaction'

default_hooks = dict(
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20, ignore_last=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # Report the last checkpoint. The field often reports the best one on the test set. Two are
    # kept, so that a kill during writing leaves at least one.
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2, save_best='acc/top1'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    sync_buffers=dict(type='SyncBuffersHook'),
)
custom_hooks = [
    dict(type='ConsistencyHook'),
    dict(type='NonFiniteGuardHook'),
    # a resumed run draws the same augmentations as an uninterrupted one
    dict(type='EpochSeedHook'),
    # on a GPU, the kernels of a step are launched at once
    dict(type='CUDAGraphHook'),
]

env_cfg = dict(
    # True tries several convolution kernels at each new shape. Only BHaRNet-M's regions need
    # convolutions, all of one shape, and the choice may differ from run to run.
    cudnn_benchmark=False,
    # Products of float32 on a GPU: 'highest' is exact, 'high' uses TF32 (10 bits of mantissa,
    # several times faster). It does not concern --amp, whose products are in bfloat16.
    float32_matmul_precision='highest',
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
log_processor = dict(type='LogProcessor', window_size=20, by_epoch=True)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='ActionVisualizer', vis_backends=vis_backends)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0)
