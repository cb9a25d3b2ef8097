import pytest

from bharnet_mm.models import native


@pytest.fixture
def native_kernels():
    """Skips a test of the kernels in C++ where they cannot be built."""
    try:
        native.build()
    except RuntimeError as error:
        pytest.skip(f'no native kernels: {error}')
