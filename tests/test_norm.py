"""layer_norm, rms_norm, group_norm, instance_norm, batch_norm.

local_response_norm and normalize are in test_norm_across_channels.py.
"""

import numpy as np
import pytest
from helpers import (
    assert_close,
    gradcheck,
    same_bytes,
    same_bytes_for_every_thread_count,
    strided_variants,
)
from hypothesis import given
from hypothesis import strategies as st
from reference import norm as reference

import fastnn
import fastnn.functional as F
from fastnn import _core, nn

# One vector of 2 to 16 lanes, four of them (the unrolled loops, and a tile of columns).
LENGTHS = st.sampled_from([1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 200])
SIZES = st.one_of(st.integers(1, 5), LENGTHS)
SEEDS = st.integers(0, 99)
# A block in the first-level cache is 16 KiB: 4096 floats, 2048 doubles.
LONG = [2047, 2048, 2049, 4095, 4096, 4097, 9001]

# What each operation needs besides x, in the order of its arguments.
OPERATIONS = ["layer_norm", "rms_norm", "group_norm", "instance_norm", "batch_norm"]


def normal(rng, shape, dtype, mean=0.5, deviation=2.0):
    return (rng.standard_normal(shape) * deviation + mean).astype(dtype)


def call(op, x, weight, bias, **kwargs):
    """`op` on images or rows x, with the statistics of x itself."""
    if op == "layer_norm":
        return F.layer_norm(x, x.shape[1:], weight, bias, **kwargs)
    if op == "rms_norm":
        return F.rms_norm(x, x.shape[1:], weight, **{"eps": 1e-5, **kwargs})
    if op == "group_norm":
        return F.group_norm(x, 2, weight, bias, **kwargs)
    if op == "instance_norm":
        return F.instance_norm(x, None, None, weight, bias, **kwargs)
    return F.batch_norm(x, None, None, weight, bias, True, **kwargs)


def call_reference(op, x, weight, bias, eps=1e-5):
    if op == "layer_norm":
        return reference.layer_norm(x, x.shape[1:], weight, bias, eps)
    if op == "rms_norm":
        return reference.rms_norm(x, x.shape[1:], weight, eps)
    if op == "group_norm":
        return reference.group_norm(x, 2, weight, bias, eps)
    return getattr(reference, op)(x, weight, bias, eps)


def parameters(op, shape, rng, dtype):
    size = shape[1:] if op in ("layer_norm", "rms_norm") else shape[1:2]
    return normal(rng, size, dtype), normal(rng, size, dtype)


def as64(*arrays):
    return [a.astype(np.float64) for a in arrays]


def compare(op, shape, dtype, rng, **kwargs):
    x = normal(rng, shape, dtype, **kwargs)
    weight, bias = parameters(op, shape, rng, dtype)
    expected = call_reference(op, *as64(x, weight, bias))
    scale = np.abs(expected).max(initial=1) + np.abs(bias).max(initial=1)
    assert_close(call(op, x, weight, bias), expected, c=32, scale=scale)


@given(shape=st.tuples(SIZES, SIZES), seed=SEEDS)
@pytest.mark.parametrize("op", ["layer_norm", "rms_norm"])
def test_rows(op, isa, dtype, shape, seed):
    # A row of one element has nothing to compare with: its deviation is rounding and eps.
    compare(op, shape, dtype, np.random.default_rng(seed))


@given(
    shape=st.tuples(st.integers(2, 4), st.sampled_from([2, 4, 6, 20]), st.integers(2, 4), SIZES),
    seed=SEEDS,
)
@pytest.mark.parametrize("op", ["group_norm", "instance_norm", "batch_norm"])
def test_images(op, isa, dtype, shape, seed):
    compare(op, shape, dtype, np.random.default_rng(seed))


@given(rows=st.integers(3, 140), channels=st.sampled_from([2, 6, 16, 18, 32, 64, 66, 130]))
@pytest.mark.parametrize("op", ["group_norm", "batch_norm"])
def test_one_element_a_channel(op, isa, dtype, rows, channels):
    if op == "group_norm" and channels == 2:
        channels = 8
    compare(op, (rows, channels), dtype, np.random.default_rng(rows))
    compare(op, (rows, channels, 1, 1), dtype, np.random.default_rng(rows))


@pytest.mark.parametrize("size", LONG)
@pytest.mark.parametrize("op", OPERATIONS)
def test_long(op, isa, dtype, rng, size):
    compare(op, (2, 2, size), dtype, rng)


@pytest.mark.parametrize("op", ["layer_norm", "group_norm", "instance_norm", "batch_norm"])
@pytest.mark.parametrize("shape", [(4, 4, 300), (3, 4, 5000), (64, 4, 1), (300, 4, 1)])
@pytest.mark.parametrize("mean", [1e4, -1e6, 1e8])
def test_large_mean(op, isa, dtype, rng, shape, mean):
    """With a deviation of 1 the mean costs no accuracy beyond the rounding of x itself."""
    if op == "instance_norm" and shape[2] == 1:
        return
    x = normal(rng, shape, dtype, mean=mean, deviation=max(1.0, abs(mean) * 1e-4))
    if op == "group_norm" and shape[2] == 1:
        x = np.repeat(x, 16, 1)
    weight, bias = np.ones(x.shape[1:]), np.zeros(x.shape[1:])
    if op != "layer_norm":
        weight, bias = weight[:, 0], bias[:, 0]
    # Plain float64 is not accurate enough to judge float64.
    expected = call_reference(op, x.astype(np.longdouble), weight, bias).astype(np.float64)
    actual = call(op, x, weight.astype(dtype), bias.astype(dtype))
    # 64 roundings of numbers of order one; with the mean in one number it would be 1e-4.
    assert_close(actual, expected, c=64, scale=1.0)


@pytest.mark.parametrize("op", OPERATIONS)
@pytest.mark.parametrize("affine", ["both", "weight", "bias", "none"])
@pytest.mark.parametrize("shape", [(3, 6, 5), (3, 16, 1), (2, 4, 37)])
def test_gradients(op, affine, isa, rng, shape):
    if op == "instance_norm" and shape[2] == 1:
        return
    x = rng.standard_normal(shape)
    weight, bias = parameters(op, shape, rng, np.float64)
    if op == "rms_norm":  # which has no bias
        affine = {"both": "weight", "bias": "none"}.get(affine, affine)
    if affine == "both":
        gradcheck(lambda x, w, b: call(op, x, w, b), x, weight, bias, max_elements=40)
    elif affine == "weight":
        gradcheck(lambda x, w: call(op, x, w, None), x, weight, max_elements=40)
    elif affine == "bias":
        gradcheck(lambda x, b: call(op, x, None, b), x, bias, max_elements=40)
    else:
        gradcheck(lambda x: call(op, x, None, None), x, max_elements=40)


def backward_of(op, x, weight, bias, grad):
    tensors = [fastnn.Tensor(a, requires_grad=True) for a in (x, weight, bias)]
    call(op, *tensors).backward(grad)
    return [t.grad for t in tensors]


@given(shape=st.tuples(st.integers(2, 9), st.sampled_from([2, 4, 6, 20]), SIZES), seed=SEEDS)
@pytest.mark.parametrize("op", OPERATIONS)
def test_backward(op, isa, dtype, shape, seed):
    """Against float64 gradients, which gradcheck has checked."""
    if op == "instance_norm" and shape[2] == 1:
        shape = (*shape[:2], 2)
    rng = np.random.default_rng(seed)
    x = normal(rng, shape, dtype)
    weight, bias = parameters(op, shape, rng, dtype)
    grad = normal(rng, shape, dtype)
    # Few elements may happen to lie close together: then 1 / deviation is large.
    eps = {"eps": 0.1}

    def gradients(*arrays):
        tensors = [fastnn.Tensor(a, requires_grad=True) for a in arrays[:3]]
        call(op, *tensors, **eps).backward(arrays[3])
        return [t.grad for t in tensors]

    expected = gradients(*as64(x, weight, bias, grad))
    for actual, wanted in zip(gradients(x, weight, bias, grad), expected):
        if wanted is not None:
            assert_close(actual, wanted, int(np.sqrt(x.size)) + 16, c=8)


@pytest.mark.parametrize("op", OPERATIONS)
@pytest.mark.parametrize("shape", [(40, 6, 50), (500, 64, 1), (9, 2, 5000), (3000, 8, 3)])
def test_threads(op, isa, rng, shape):
    if op == "instance_norm" and shape[2] == 1:
        return
    x, grad = normal(rng, shape, np.float32), normal(rng, shape, np.float32)
    weight, bias = parameters(op, shape, rng, np.float32)
    same_bytes_for_every_thread_count(lambda: call(op, x, weight, bias))
    same_bytes_for_every_thread_count(lambda: backward_of(op, x, weight, bias, grad))


@pytest.mark.parametrize("op", ["layer_norm", "rms_norm", "group_norm", "instance_norm"])
@pytest.mark.parametrize("shape", [(11, 6, 50), (11, 64, 1), (5, 2, 5000)])
def test_batch_invariance(op, isa, dtype, rng, shape):
    if op == "instance_norm" and shape[2] == 1:
        return
    x, grad = normal(rng, shape, dtype), normal(rng, shape, dtype)
    weight, bias = parameters(op, shape, rng, dtype)
    whole, whole_grad = call(op, x, weight, bias), backward_of(op, x, weight, bias, grad)[0]
    for i in range(len(x)):
        one = slice(i, i + 1)
        assert same_bytes(call(op, x[one], weight, bias), whole[one])
        assert same_bytes(backward_of(op, x[one], weight, bias, grad[one])[0], whole_grad[one])


@pytest.mark.parametrize("op", OPERATIONS)
def test_strides(op, isa, dtype, rng):
    x = normal(rng, (3, 4, 7), dtype)
    weight, bias = parameters(op, x.shape, rng, dtype)
    expected = call(op, x, weight, bias)
    for name, variant in strided_variants(x).items():
        assert same_bytes(call(op, variant, weight, bias), expected), name
    for name, variant in strided_variants(weight).items():
        assert same_bytes(call(op, x, variant, bias), expected), name


@pytest.mark.parametrize("op", OPERATIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_special_values(op, isa, dtype, rng, bad):
    x = normal(rng, (3, 4, 20), dtype)
    weight, bias = parameters(op, x.shape, rng, dtype)
    clean = call(op, x, weight, bias)
    x[1, 2, 3] = bad
    y = call(op, x, weight, bias)
    spoiled = np.zeros(x.shape, bool)
    spoiled[
        {
            "layer_norm": 1,
            "rms_norm": 1,
            "group_norm": (1, slice(2, 4)),
            "instance_norm": (1, 2),
            "batch_norm": (slice(None), 2),
        }[op]
    ] = True
    if op == "rms_norm" and not np.isnan(bad):
        # x / inf: zero, but for the infinity itself.
        rest = (y[1] - 0).ravel()
        assert np.isnan(rest).sum() == 1
        assert np.nansum(np.abs(rest)) == 0
    else:
        assert np.isnan(y[spoiled]).all()
    if op != "batch_norm":
        assert same_bytes(y[~spoiled], clean[~spoiled])
    else:
        assert not np.isnan(y[~spoiled]).any()


@pytest.mark.parametrize("op", OPERATIONS)
@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 4, 0), (0, 4, 1)])
def test_empty(op, dtype, shape):
    if op == "instance_norm" and shape[2] == 1:
        return
    x = np.zeros(shape, dtype)
    weight, bias = (
        np.ones(p.shape, dtype) for p in parameters(op, shape, np.random.default_rng(0), dtype)
    )
    assert call(op, x, weight, bias).shape == shape
    grads = backward_of(op, x, weight, bias, x)
    assert grads[0].shape == shape
    assert (grads[1] == 0).all()
    assert grads[1].shape == weight.shape


@pytest.mark.parametrize("op", OPERATIONS)
def test_constant_input(op, isa, dtype):
    """No spread: the deviation is that of eps, and y the bias."""
    for value in (0.1, 1e6, 3.0):
        x = np.full((3, 4, 50), value, dtype)
        weight, bias = parameters(op, x.shape, np.random.default_rng(0), dtype)
        y = call(op, x, weight, bias)
        if op != "rms_norm":
            shift = bias if op == "layer_norm" else bias[:, None]
            assert_close(y, np.broadcast_to(shift, y.shape).astype(np.float64), c=16, scale=1.0)


def test_normalized_shape(dtype, rng):
    x = normal(rng, (2, 3, 4), dtype)
    assert same_bytes(F.layer_norm(x, 4), F.layer_norm(x, (4,)))
    assert same_bytes(F.layer_norm(x, [3, 4]).reshape(2, 12), F.layer_norm(x.reshape(2, 12), (12,)))
    assert_close(F.rms_norm(x, (4,)), reference.rms_norm(x.astype(np.float64), (4,)), c=16)


@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 4), (2, 3, 3000), (130, 70)])
@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0, 0.25])
def test_running_statistics(isa, dtype, rng, shape, momentum):
    x = normal(rng, shape, dtype, mean=3)
    channels = shape[1]
    mean, var = normal(rng, channels, dtype), np.abs(normal(rng, channels, dtype))
    axes = (0, *range(2, x.ndim))
    x64 = x.astype(np.float64)
    wanted_mean = (1 - momentum) * mean + momentum * x64.mean(axes)
    wanted_var = (1 - momentum) * var + momentum * x64.var(axes, ddof=1)
    y = F.batch_norm(x, mean, var, None, None, True, momentum)
    assert same_bytes(y, F.batch_norm(x, None, None, training=True))
    assert_close(mean, wanted_mean, c=16)
    assert_close(var, wanted_var, c=32)


@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 4), (2, 3, 3000), (13, 70)])
def test_batch_norm_inference(isa, dtype, rng, shape):
    x = normal(rng, shape, dtype)
    channels = shape[1]
    mean, weight, bias = (normal(rng, channels, dtype) for _ in range(3))
    var = np.abs(normal(rng, channels, dtype)) + dtype.type(0.1)
    kept = mean.copy(), var.copy()
    y = F.batch_norm(x, mean, var, weight, bias)
    expected = reference.batch_norm(*as64(x, weight, bias), 1e-5, *as64(mean, var))
    assert_close(y, expected, c=32)
    assert same_bytes((mean, var), kept)
    for i in range(shape[0]):
        assert same_bytes(F.batch_norm(x[i : i + 1], mean, var, weight, bias), y[i : i + 1])
    assert same_bytes(F.instance_norm(x, mean, var, weight, bias, use_input_stats=False), y)
    same_bytes_for_every_thread_count(lambda: F.batch_norm(x, mean, var, weight, bias))


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 7)])
def test_batch_norm_inference_gradients(isa, rng, shape):
    x, weight, bias = rng.standard_normal(shape), rng.standard_normal(3), rng.standard_normal(3)
    mean, var = rng.standard_normal(3), rng.uniform(0.5, 2, 3)
    gradcheck(lambda x, w, b: F.batch_norm(x, mean, var, w, b), x, weight, bias)
    gradcheck(lambda x: F.batch_norm(x, mean, var), x)
    gradcheck(lambda x, w: F.instance_norm(x, mean, var, w, use_input_stats=False), x, weight)


def test_instance_norm_running_statistics(isa, dtype, rng):
    x = normal(rng, (4, 3, 50), dtype)
    mean, var = np.zeros(3, dtype), np.ones(3, dtype)
    y = F.instance_norm(x, mean, var, momentum=0.2)
    assert same_bytes(y, F.instance_norm(x))
    x64 = x.astype(np.float64)
    assert_close(mean, 0.2 * x64.mean(2).mean(0), c=16)
    assert_close(var, 0.8 + 0.2 * x64.var(2, ddof=1).mean(0), c=32)


@pytest.mark.parametrize("op", OPERATIONS)
def test_out(op, dtype, rng):
    x = normal(rng, (3, 4, 7), dtype)
    weight, bias = parameters(op, x.shape, rng, dtype)
    expected = call(op, x, weight, bias)
    out = np.empty_like(x)
    assert call(op, x, weight, bias, out=out) is out
    assert same_bytes(out, expected)
    with pytest.raises(ValueError, match="out must be None while gradients are recorded"):
        call(op, fastnn.Tensor(x, requires_grad=True), weight, bias, out=out)
    with pytest.raises(ValueError, match="out must not share memory"):
        call(op, x, weight, bias, out=x)
    with pytest.raises(ValueError, match=r"out\.shape must be"):
        call(op, x, weight, bias, out=out[0])


@pytest.mark.parametrize("op", OPERATIONS)
def test_rejects_arrays(op):
    x = np.zeros((3, 4, 7), np.float32)
    weight, bias = (
        p.astype(np.float32) for p in parameters(op, x.shape, np.random.default_rng(0), x.dtype)
    )
    with pytest.raises(TypeError, match=r"input\.dtype must be float32 or float64, got int64"):
        call(op, x.astype(np.int64), weight, bias)
    with pytest.raises(TypeError, match=r"weight\.dtype must be float32"):
        call(op, x, weight.astype(np.float64), bias)
    with pytest.raises(ValueError, match=r"weight\.shape must be"):
        call(op, x, weight[:-1], bias)
    if op != "rms_norm":
        with pytest.raises(ValueError, match=r"bias\.shape must be"):
            call(op, x, weight, bias[..., None])
    for eps in (-1.0, np.nan):
        with pytest.raises(ValueError, match="eps must be"):
            call(op, x, weight, bias, eps=eps)
    with pytest.raises(TypeError, match="eps must be a number, got 'a'"):
        call(op, x, weight, bias, eps="a")
    with pytest.raises((TypeError, ValueError)):
        F.batch_norm(None, None, None)


def test_rejects_shapes():
    x = np.zeros((3, 4, 7))
    for shape, message in (
        ((), "normalized_shape must not be empty"),
        ((4,), r"input\.shape must end in \(4,\) \(normalized_shape\), got \(3, 4, 7\)"),
        ((1, 3, 4, 7), r"input\.shape must end in"),
    ):
        with pytest.raises(ValueError, match=message):
            F.layer_norm(x, shape)
    for shape in (7.0, ("a",), (True,), None, (-7,)):
        with pytest.raises(TypeError, match="normalized_shape must be an int or a tuple of ints"):
            F.rms_norm(x, shape)
    with pytest.raises(ValueError, match="divisible by num_groups = 3, got 4"):
        F.group_norm(x, 3)
    with pytest.raises(ValueError, match="num_groups must be >= 1, got 0"):
        F.group_norm(x, 0)
    with pytest.raises(TypeError, match="num_groups must be an int"):
        F.group_norm(x, 2.0)
    with pytest.raises(ValueError, match="input must have more than 1 element"):
        F.group_norm(np.zeros((1, 4)), 4)
    with pytest.raises(ValueError, match="more than 1 element per channel"):
        F.instance_norm(np.zeros((3, 4, 1)))
    with pytest.raises(ValueError, match="more than 1 element per channel in training"):
        F.batch_norm(np.zeros((1, 4)), None, None, training=True)
    for op in (lambda: F.group_norm(np.zeros(4), 2), lambda: F.instance_norm(np.zeros(4))):
        with pytest.raises(ValueError, match="input must have at least 2 dimensions"):
            op()


def test_rejects_running_statistics():
    x = np.zeros((3, 4, 7))
    mean, var = np.zeros(4), np.ones(4)
    with pytest.raises(ValueError, match="must be given when training is False"):
        F.batch_norm(x, None, None)
    with pytest.raises(ValueError, match="must be given when use_input_stats is False"):
        F.instance_norm(x, use_input_stats=False)
    with pytest.raises(ValueError, match="both be given or both be None"):
        F.batch_norm(x, mean, None, training=True)
    with pytest.raises(ValueError, match="both be given or both be None"):
        F.instance_norm(x, None, var)
    with pytest.raises(ValueError, match=r"running_mean\.shape must be \(4,\)"):
        F.batch_norm(x, mean[:3], var[:3])
    with pytest.raises(TypeError, match=r"running_var\.dtype must be float64"):
        F.batch_norm(x, mean, var.astype(np.float32))
    with pytest.raises(ValueError, match="running_mean must be C-contiguous"):
        F.batch_norm(x, np.zeros(8)[::2], var, training=True)
    var.flags.writeable = False
    with pytest.raises(ValueError, match="running_var must be writable"):
        F.batch_norm(x, mean, var, training=True)
    assert F.batch_norm(x, mean, var).shape == x.shape
    with pytest.raises(TypeError, match=r"running_mean must be a numpy\.ndarray"):
        F.batch_norm(x, [0.0] * 4, [1.0] * 4, training=True)
    with pytest.raises(TypeError, match=r"momentum must be a number, got None"):
        F.batch_norm(x, mean, np.ones(4), training=True, momentum=None)
    assert (mean == 0).all()


def test_backward_rejects():
    x = np.zeros((3, 4))
    _, statistics = _core.layer_norm_forward(x, 4, None, None, 1e-5)
    with pytest.raises(ValueError, match=r"grad_output\.shape must be \(3, 4\)"):
        _core.layer_norm_backward(x[:2], x, 4, None, statistics, True, True)
    with pytest.raises(ValueError, match=r"statistics\.shape must be \(3, 4\)"):
        _core.layer_norm_backward(x, x, 4, None, statistics[:2], True, True)
    with pytest.raises(ValueError, match=r"statistics\.shape must be \(6, 4\)"):
        _core.group_norm_backward(x, x, 2, None, statistics, True, True)


def test_against_pytorch(dtype, rng):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    x = normal(rng, (4, 6, 5, 3), dtype)
    weight, bias = normal(rng, 6, dtype), normal(rng, 6, dtype)
    t, w, b = (torch.from_numpy(a) for a in (x, weight, bias))
    mean, var = np.zeros(6, dtype), np.ones(6, dtype)
    tm, tv = torch.zeros(6, dtype=t.dtype), torch.ones(6, dtype=t.dtype)
    pairs = [
        (F.group_norm(x, 3, weight, bias), f.group_norm(t, 3, w, b)),
        (F.layer_norm(x, (5, 3)), f.layer_norm(t, (5, 3))),
        (F.rms_norm(x, (5, 3)), f.rms_norm(t, (5, 3))),
        (
            F.batch_norm(x, mean, var, weight, bias, True, 0.3),
            f.batch_norm(t, tm, tv, w, b, True, 0.3),
        ),
        (
            F.instance_norm(x, mean, var, weight, bias, momentum=0.3),
            f.instance_norm(t, tm, tv, w, b, momentum=0.3),
        ),
        (F.batch_norm(x, mean, var, weight, bias), f.batch_norm(t, tm, tv, w, b)),
        (mean, tm),
        (var, tv),
    ]
    for actual, expected in pairs:
        assert_close(actual, expected.numpy(), c=64)


def test_layer_norm_layers(rng):
    x = normal(rng, (2, 3, 4), np.float32)
    layer = nn.LayerNorm((3, 4))
    assert [(k, v.shape) for k, v in layer.state_dict().items()] == [
        ("weight", (3, 4)),
        ("bias", (3, 4)),
    ]
    assert same_bytes(layer(x), F.layer_norm(x, (3, 4)))
    assert repr(layer) == "LayerNorm((3, 4), eps=1e-05, elementwise_affine=True, bias=True)"
    assert list(nn.LayerNorm(4, bias=False).state_dict()) == ["weight"]
    assert not nn.LayerNorm(4, elementwise_affine=False).state_dict()
    assert nn.LayerNorm(4, dtype=np.float64).weight.data.dtype == np.float64
    assert repr(nn.RMSNorm(3)) == "RMSNorm((3,), eps=None, elementwise_affine=True)"
    assert same_bytes(nn.RMSNorm(4)(x), F.rms_norm(x, 4))
    layer(x).sum().backward()
    assert layer.weight.grad.shape == (3, 4)
    for bad in (1.5, "a", (2, True)):
        with pytest.raises(TypeError, match="normalized_shape must be an int"):
            nn.LayerNorm(bad)


def test_group_norm_layer(rng):
    x = normal(rng, (2, 6, 4), np.float32)
    layer = nn.GroupNorm(3, 6)
    assert same_bytes(layer(x), F.group_norm(x, 3))
    assert repr(layer) == "GroupNorm(3, 6, eps=1e-05, affine=True, bias=True)"
    assert not nn.GroupNorm(3, 6, affine=False).state_dict()
    with pytest.raises(ValueError, match="num_groups must divide num_channels = 6, got 4"):
        nn.GroupNorm(4, 6)


def test_batch_norm_layers(rng):
    x = normal(rng, (8, 3, 4, 5), np.float32)
    layer = nn.BatchNorm2d(3)
    assert list(layer.state_dict()) == [
        "weight",
        "bias",
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ]
    assert layer.state_dict()["num_batches_tracked"].dtype == np.int64
    mean, var = np.zeros(3, np.float32), np.ones(3, np.float32)
    for batch in (1, 2):
        assert same_bytes(layer(x), F.batch_norm(x, mean, var, training=True))
        assert layer.num_batches_tracked == batch
    assert same_bytes((layer.running_mean, layer.running_var), (mean, var))
    layer.eval()
    assert same_bytes(layer(x), F.batch_norm(x, mean, var))
    assert layer.num_batches_tracked == 2
    layer.reset_running_stats()
    assert (layer.running_var == 1).all()
    assert layer.num_batches_tracked == 0
    assert repr(layer) == (
        "BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)"
    )


def test_batch_norm_cumulative_average(rng):
    layer = nn.BatchNorm1d(3, momentum=None, dtype=np.float64)
    batches = rng.standard_normal((5, 20, 3))
    for batch in batches:
        layer(batch)
    np.testing.assert_allclose(layer.running_mean, batches.mean((0, 1)), atol=1e-14)
    np.testing.assert_allclose(layer.running_var, batches.var(1, ddof=1).mean(0), rtol=1e-13)


def test_batch_norm_without_tracking(rng):
    x = normal(rng, (8, 3), np.float32)
    layer = nn.BatchNorm1d(3, track_running_stats=False, affine=False)
    assert not layer.state_dict()
    expected = F.batch_norm(x, None, None, training=True)
    assert same_bytes(layer(x), expected)
    assert same_bytes(layer.eval()(x), expected)


def test_batch_norm_layer_trains(rng):
    layer = nn.BatchNorm1d(3)
    x = normal(rng, (8, 3, 2), np.float32)
    layer(x).sum().backward()
    assert_close(layer.bias.grad, np.full(3, 16.0), c=16)
    layer.eval()(x).sum().backward()


def test_instance_norm_layers(rng):
    x = normal(rng, (2, 3, 4, 5), np.float32)
    layer = nn.InstanceNorm2d(3)
    assert not layer.state_dict()
    assert same_bytes(layer(x), F.instance_norm(x))
    assert same_bytes(layer(x[0]), F.instance_norm(x)[0])
    tracked = nn.InstanceNorm2d(3, affine=True, track_running_stats=True)
    mean, var = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert same_bytes(tracked(x), F.instance_norm(x, mean, var))
    assert same_bytes((tracked.running_mean, tracked.running_var), (mean, var))
    assert same_bytes(tracked.eval()(x), F.batch_norm(x, mean, var))
    with pytest.raises(ValueError, match=r"input\.shape\[1\] must be 4 \(num_features\), got 3"):
        nn.InstanceNorm2d(4, affine=True)(x)
    with pytest.warns(UserWarning, match="plays no part"):
        nn.InstanceNorm2d(4)(x)


@pytest.mark.parametrize("kind", ["BatchNorm", "InstanceNorm"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_ranks(kind, dims):
    layer = getattr(nn, f"{kind}{dims}d")(3)
    x = np.zeros((2, 3, 4, 4, 4, 4), np.float32)
    assert layer(x[(..., *[0] * (4 - dims))]).ndim == dims + 2
    with pytest.raises(ValueError, match=f"{kind}{dims}d: input must have"):
        layer(x[(..., *[0] * (3 - dims))])


def test_state_dict_of_pytorch(rng):
    torch = pytest.importorskip("torch")
    x = normal(rng, (4, 6, 5), np.float32)
    pairs = [
        (torch.nn.BatchNorm1d(6), nn.BatchNorm1d(6)),
        (torch.nn.GroupNorm(2, 6), nn.GroupNorm(2, 6)),
        (torch.nn.LayerNorm((6, 5)), nn.LayerNorm((6, 5))),
        (torch.nn.RMSNorm(5), nn.RMSNorm(5)),
        (
            torch.nn.InstanceNorm1d(6, affine=True, track_running_stats=True),
            nn.InstanceNorm1d(6, affine=True, track_running_stats=True),
        ),
    ]
    for theirs, ours in pairs:
        assert repr(theirs) == repr(ours)
        for p in theirs.parameters():
            torch.nn.init.uniform_(p, 0.5, 1.5)
        theirs(torch.from_numpy(x))
        ours.load_state_dict(theirs.state_dict())
        for _ in range(2):
            expected = theirs(torch.from_numpy(x)).detach().numpy()
            assert_close(ours(x), expected, c=64)
            for key, value in theirs.state_dict().items():
                np.testing.assert_allclose(ours.state_dict()[key], value.numpy(), rtol=1e-5)
            theirs.eval()
            ours.eval()


def test_local_response_norm_of_rows_of_nothing_takes_no_time():
    rows = np.lib.stride_tricks.as_strided(np.zeros(1), (2**40, 0, 2), (0,) * 3)
    assert F.local_response_norm(rows, 3).shape == rows.shape
