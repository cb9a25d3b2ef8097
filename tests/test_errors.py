import pickle

import pytest

from bharnet_mm import errors

SUBCLASSES = ['ClipError', 'StoreError', 'LayoutError', 'ConfigError', 'SourceError']


@pytest.mark.parametrize('name', ['BHaRNetError', *SUBCLASSES])
def test_message_pickle_and_base(name):
    cls = getattr(errors, name)
    error = cls('clip a', 'an apple', 'a pear', 'swap them')
    assert str(error) == 'clip a: found an apple; expected a pear. Fix: swap them'
    assert isinstance(error, errors.BHaRNetError) and isinstance(error, ValueError)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls and str(again) == str(error) and again.fix == 'swap them'


def test_rebuilt_from_its_text_as_a_data_loader_worker_does():
    text = str(errors.ClipError('clip a', 'an apple', 'a pear', 'swap them'))
    assert str(errors.ClipError(text)) == text
