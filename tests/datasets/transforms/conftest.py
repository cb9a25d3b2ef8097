import numpy as np
import pytest


@pytest.fixture
def seeded():
    """Seeds numpy's global generator, which transforms draw from."""
    return np.random.seed


@pytest.fixture
def same_visible():
    """Asserts that two results agree bit by bit wherever something is visible."""

    def check(a, b, atol=None):
        for part in ('body', 'hand'):
            key = f'{part}_visible'
            np.testing.assert_array_equal(a[key], b[key])
            assert a[part].dtype == b[part].dtype == np.float32
            x, y = a[part][a[key]], b[part][b[key]]
            if atol is None:
                np.testing.assert_array_equal(x, y)
            else:
                np.testing.assert_allclose(x, y, rtol=1e-5, atol=atol)

    return check


@pytest.fixture
def fitted():
    """The matrix A of ``after = A before`` over the visible entries, by least squares."""

    def fit(before, after, visible):
        x, y = before[visible], after[visible]
        x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
        return np.linalg.lstsq(x.astype(float), y.astype(float), rcond=None)[0].T

    return fit
