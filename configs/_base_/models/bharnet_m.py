# BHaRNet-M: pictures around the joints, their rows weighted by the body expert, beside BHaRNet-P
# (our choice; branches and backbone may be those of B or E as well).
_base_ = 'bharnet_p.py'

model = dict(
    type='BHaRNetM',
    rgb=dict(
        type='BodyGuidedRGB',
        # ImageNet weights: pretrained='https://download.pytorch.org/models/resnet18-f37072fd.pth',
        # or the path of such a file.
        backbone=dict(type='ResNet', depth=18, pretrained=None),
        detach=True,  # the pictures' loss does not train the body
    ),
    cls_head=dict(
        in_channels=dict(_delete_=True, body=256, hand=256, rgb=512),
        modalities=('body', 'hand', 'rgb'),
        coupled=('body', 'hand', 'rgb'),  # our choice: who shares the fused loss
    ),
    # In two stages, as MMNet: experts='work_dirs/bharnet_p_.../epoch_80.pth', freeze_experts=True.
    experts=None,
    freeze_experts=False,
)
