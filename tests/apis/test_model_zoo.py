import pytest
import torch
from mmengine.logging import MMLogger

from bharnet_mm import create_model, list_models
from bharnet_mm.apis.model_zoo import config_path, find_config
from bharnet_mm.errors import ConfigError

SMALL = dict(
    backbone__body__base_channels=16,
    backbone__hand__base_channels=16,
    backbone__body__num_blocks=3,
    backbone__hand__num_blocks=3,
    backbone__body__widen_at=(2,),
    backbone__hand__widen_at=(2,),
    backbone__body__stride_at=(2,),
    backbone__hand__stride_at=(2,),
)
VARIANTS = ('bharnet_b', 'bharnet_e', 'bharnet_light', 'bharnet_m', 'bharnet_p')


def inputs(joints=17, channels=2, frames=8):
    body, hand = torch.rand(2, 1, frames, joints, channels), torch.rand(2, 2, frames, 21, channels)
    masks = (torch.ones(*x.shape[:3], dtype=bool) for x in (body, hand))
    return dict(zip(('body', 'hand', 'body_mask', 'hand_mask'), (body, hand, *masks), strict=True))


def test_names():
    names = list_models(False)
    assert {*VARIANTS, 'bharnet_p_ntu60', 'unified_stgcnpp_asl10'} <= set(names)
    assert set(list_models()) == set(names) | set(list_models(True))
    assert all(config_path(name).is_file() for name in names)


@pytest.mark.parametrize('name', VARIANTS)
def test_every_variant_by_name(name):
    model = create_model(
        name, num_classes=7, layout='coco', channels=2, num_frames=8, feature='bone', **SMALL
    ).eval()
    out = model(inputs(), mode='tensor')
    assert all(z.shape == (2, 7) for logits in out.values() for z in logits)
    assert ('rgb' in out) == (name == 'bharnet_m') and model.backbone.feature == 'bone'


def test_config_by_name_and_weights(tmp_path):
    model = create_model('bharnet_light_asl10')
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(150e3, rel=0.05)
    path = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    again = create_model('bharnet_light_asl10', pretrained=path)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )
    other = create_model('bharnet_light_asl10', num_classes=3, pretrained=path)
    assert torch.equal(next(model.backbone.parameters()), next(other.backbone.parameters()))
    with pytest.raises(ConfigError, match='without .* tensors'):
        create_model('bharnet_p_asl10', pretrained=path)


def test_wrong_names():
    with pytest.raises(ConfigError, match="did you mean 'bharnet_p'"):
        create_model('bharnet-p')
    with pytest.raises(ConfigError, match='backbon__body__num_blocks'):
        create_model('bharnet_p', backbon__body__num_blocks=2)
    with pytest.raises(ConfigError, match='no such file'):
        find_config('configs/nothing.py')
    assert find_config('bharnet_p_ntu60').endswith('bharnet_p_ntu60.py')


def test_models_for_own_data_say_what_they_lack():
    with pytest.raises(ConfigError, match=r'no channels, layout, num_classes.*store=PATH'):
        create_model('bharnet_p_own')
    with pytest.raises(ConfigError, match='give channels'):
        create_model('bharnet_p_own', num_classes=3, layout='coco', num_frames=16)
    model = create_model('bharnet_p_own', num_classes=3, layout='coco', channels=2, num_frames=16)
    out = model.eval()(inputs(frames=16), mode='tensor')
    assert all(z.shape == (2, 3) for logits in out.values() for z in logits)
    with pytest.raises(ConfigError, match='rgb__parts'):
        create_model('bharnet_m_own', num_classes=3, layout='coco', channels=2, num_frames=16)


def test_the_log_of_an_earlier_runner_is_left_alone(tmp_path):
    MMLogger.get_instance('earlier', logger_name='earlier', log_file=str(tmp_path / 'log'))
    create_model('bharnet_light_asl10')
    assert MMLogger.get_current_instance().handlers
    assert 'Initialization' not in (tmp_path / 'log').read_text()
