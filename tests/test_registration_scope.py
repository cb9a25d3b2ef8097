"""Parts are found whatever default scope an earlier runner of the process has left."""

import pytest
from mmaction.registry import MODELS
from mmengine.registry import DefaultScope

from bharnet_mm import create_model, registration
from bharnet_mm.apis.recognizer import load_recognizer


@pytest.mark.parametrize('scope', [None, 'mmengine', 'mmaction'])
def test_models_and_pipelines_of_the_package_are_built(scope):
    with DefaultScope.overwrite_default_scope(scope):
        create_model('bharnet_light_asl10')
        load_recognizer('bharnet_light_asl10', device='cpu')  # its file, with a pipeline
        with registration.mmaction_scope():
            assert MODELS.get('BHaRNet') is not None


def test_the_scope_of_a_project_stays():
    with DefaultScope.overwrite_default_scope('project'), registration.mmaction_scope():
        assert DefaultScope.get_current_instance().scope_name == 'project'
