"""Large outputs reuse memory: ordinary arrays, and no more than a bound is kept."""

import pickle
import resource

import numpy as np
import pytest

import fastnn
import fastnn.functional as F

LARGE = 1 << 20  # elements


def test_memory_is_reused(rng):
    x = rng.standard_normal(LARGE, dtype=np.float32)
    y = F.relu(x)
    place = y.ctypes.data
    del y
    again = F.relu(x)
    assert again.ctypes.data == place
    other = F.relu(x)
    assert not np.may_share_memory(again, other)
    np.testing.assert_array_equal(again, other)


def test_arrays_are_ordinary(rng):
    x = rng.standard_normal(LARGE, dtype=np.float32)
    y = F.relu(x)
    assert y.flags.owndata
    assert y.flags.writeable
    assert y.base is None
    expected = np.maximum(x, 0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(y)), expected)
    y.resize(2 * LARGE, refcheck=False)
    np.testing.assert_array_equal(y[:LARGE], expected)
    y.resize(10, refcheck=False)
    np.testing.assert_array_equal(y, expected[:10])


def test_what_is_kept_is_bounded(rng):
    """Arrays of ever new sizes, in all far more than is kept."""
    x = np.ones(16 << 20, np.float32)
    for i in range(20):
        F.relu(x[: (15 << 20) + i * (1 << 15)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for i in range(40):
        F.relu(x[: (12 << 20) + i * (1 << 16)])
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert kibibytes <= 128 << 10


def test_failed_allocation():
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (1 << 44,), (0,))
    with pytest.raises(MemoryError):
        F.relu(huge)
    np.testing.assert_array_equal(F.relu(np.ones(LARGE, np.float32)), 1)


def test_gradients(rng):
    x = fastnn.Tensor(rng.standard_normal((4, 256, 512)).astype(np.float32), requires_grad=True)
    for _ in range(3):
        F.relu(F.relu(x)).backward(np.ones(x.shape, np.float32))
    np.testing.assert_array_equal(x.grad, 3 * (x.numpy() > 0))
