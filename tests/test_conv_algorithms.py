"""The algorithms of convolution, each on the shapes that it is chosen for."""

from __future__ import annotations

import numpy as np
import pytest
from conv_checks import (
    CONV,
    CONV_TRANSPOSE,
    all_results,
    check_forward_and_backward,
    error,
    normal,
)
from helpers import (
    assert_close,
    gradcheck,
    same_bytes,
    same_bytes_for_every_thread_count,
)
from reference import conv as reference

import fastnn
import fastnn.functional as F
from fastnn import _core


@pytest.mark.parametrize(
    ("channels", "out", "size", "kernel", "stride", "padding"),
    [
        (3, 20, 33, 3, 1, 1),
        (64, 30, 14, 3, 1, 1),
        (40, 64, 20, 1, 1, 0),
        (40, 64, 20, 1, 2, 0),
        (300, 15, 7, 3, 1, 1),
        (5, 17, 40, 5, 2, 2),
        (2, 3, 70, 7, 3, 0),
        (2, 3, 60, 40, 1, 3),
        (20, 17, 100, 3, 2, 1),
        (6, 29, 41, 3, 3, 0),
        (17, 40, 30, 1, 2, 0),
        (5, 64, 31, 5, 1, 2),
        (17, 30, 67, 7, 2, 1),
        (17, 30, 65, 7, 2, 1),
    ],
)
def test_larger(isa, dtype, channels, out, size, kernel, stride, padding):
    problem = {
        "x_shape": (2, channels, size, size),
        "out": out,
        "kernel": (kernel, kernel),
        "stride": (stride, stride),
        "padding": ((padding, padding),) * 2,
        "dilation": (1, 1),
        "groups": 1,
        "seed": 1,
    }
    check_forward_and_backward(problem, dtype)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "dilation"),
    [(17, (3, 3), (1, 1), (1, 1)), (33, (2, 5), (2, 3), (1, 2)), (40, (4, 3), (3, 2), (2, 1))],
)
def test_gradient_of_strips(mode, channels, kernel, stride, dilation, isa, dtype):
    problem = {
        "x_shape": (2, 2 * channels, 23, 90),
        "out": 2 * 15,
        "kernel": kernel,
        "stride": stride,
        "padding": ((1, 2), (2, 0)),
        "dilation": dilation,
        "groups": 2,
        "seed": 4,
    }
    check_forward_and_backward(problem, dtype, mode)


DEPTHWISE = [
    # channels, multiplier, size, kernel, stride, padding, dilation
    (5, 1, (14, 14), (3, 3), 1, 1, 1),
    (3, 1, (7, 7), (3, 3), 1, 1, 1),
    (3, 2, (17, 33), (3, 3), 2, 1, 1),
    (2, 3, (30, 31), (5, 5), 1, 2, 1),
    (2, 1, (40, 50), (7, 4), 3, 2, 2),
    (2, 1, (3, 1500), (2, 3), 1, 1, 1),
    (2, 1, (300, 70), (3, 3), 2, 0, 1),
    (2, 8, (9, 10), (3, 3), 1, 1, 1),
    (2, 1, (1, 40), (1, 70), 1, 40, 1),
    (5, 2, (9, 16), (5, 5), 1, 2, 1),
    (3, 1, (5, 1), (3, 3), 1, 3, 1),
    (3, 1, (10, 63), (3, 3), 1, 0, 1),
    (2, 1, (31, 112), (3, 3), 1, 1, 1),
    (3, 1, (13, 71), (3, 3), 2, 1, 1),
    (2, 2, (20, 45), (5, 5), 2, 2, 1),
    (2, 1, (5, 13), (5, 5), 2, 4, 1),
    (2, 1, (8, 40), (5, 5), 1, 9, 1),
    (2, 1, (21, 45), (5, 5), 2, 2, 1),
    (2, 1, (16, 37), (3, 3), 2, 1, 1),
    (3, 1, (7, 8), (5, 5), 2, 0, 1),
    (1, 40, (9, 18), (3, 3), 1, 1, 1),
    (3, 1, (14, 33), (7, 7), 1, 3, 1),
    (2, 2, (9, 64), (9, 4), 1, 4, 1),
    (2, 1, (6, 17), (7, 7), 1, 1, 1),
    (2, 1, (4, 31), (31, 5), 1, 15, 1),
]


@pytest.mark.parametrize("problem", DEPTHWISE)
def test_depthwise(problem, isa, dtype):
    channels, multiplier, size, kernel, stride, padding, dilation = problem
    settings = {
        "x_shape": (2, channels, *size),
        "out": channels * multiplier,
        "kernel": kernel,
        "stride": (stride, stride),
        "padding": ((padding, padding + 1),) * 2,
        "dilation": (dilation, dilation),
        "groups": channels,
        "seed": 2,
    }
    check_forward_and_backward(settings, dtype)


FEW = [
    # channels, out, groups, size, kernel, stride, padding, dilation
    (12, 12, 3, (9, 20), (3, 3), 1, 1, 1),
    (6, 10, 2, (17, 33), (3, 2), 2, 1, 1),
    (4, 30, 1, (12, 70), (3, 3), 1, 2, 2),
    (100, 3, 1, (11, 29), (5, 4), 2, 2, 1),
    (3, 5, 1, (1, 2500), (1, 5), 1, 2, 1),
    (9, 20, 1, (1, 2500), (1, 3), 1, 1, 1),
    (9, 20, 1, (3, 1300), (2, 3), 2, 1, 3),
    (1, 40, 1, (12, 37), (3, 3), 1, 1, 1),
    (6, 60, 6, (9, 16), (3, 3), 2, 1, 1),
    (1, 7, 1, (1, 40), (1, 9), 1, 4, 1),
]


@pytest.mark.parametrize("problem", FEW)
def test_few_channels(problem, isa, dtype):
    channels, out, groups, size, kernel, stride, padding, dilation = problem
    settings = {
        "x_shape": (2, channels, *size),
        "out": out,
        "kernel": kernel,
        "stride": (stride, stride),
        "padding": ((padding, padding + 1),) * 2,
        "dilation": (dilation, dilation),
        "groups": groups,
        "seed": 3,
    }
    check_forward_and_backward(settings, dtype)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("padding", [(0, 1), (1, 2), (2, 0), (3, 4)])
@pytest.mark.parametrize("size", [(9, 16), (6, 17), (5, 70)])
def test_depthwise_transpose(kernel, padding, size, isa, dtype, rng):
    x = normal(rng, 3, 4, *size, dtype=dtype)
    w, b = normal(rng, 4, 1, kernel, kernel, dtype=dtype), normal(rng, 4, dtype=dtype)
    pairs = tuple((p, p) for p in padding)
    for extra in ((0, 1), (1, 0)):

        def call(x, extra=extra):
            return F.conv_transpose2d(x, w, b, 2, padding, extra, 4)

        y = same_bytes_for_every_thread_count(lambda: call(x))
        expected = reference.conv_transpose(x, w, b, (2, 2), pairs, extra, (1, 1), 4)
        assert_close(y, expected, kernel * kernel)
        assert same_bytes(call(x[1]), y[1])


@pytest.mark.parametrize("width", [8, 9, 15, 16, 17, 31, 32, 33, 50])
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((2, 1), (0, 2))])
def test_several_channels_to_one_filter(width, padding, isa, dtype, rng):
    x = normal(rng, 3, 2 * 7, 6, width, dtype=dtype)
    w = normal(rng, 2, 7, 3, 3, dtype=dtype)
    b = normal(rng, 2, dtype=dtype)

    def call(x):
        return F.conv2d(x, w, b, 1, padding, 1, 2)

    y = same_bytes_for_every_thread_count(lambda: call(x))
    assert_close(y, reference.conv(x, w, b, (1, 1), padding, (1, 1), 2), 7 * 9)
    assert same_bytes(call(x[1]), y[1])


def test_depthwise_gradient_keeps_to_its_taps():
    """An infinity that a tap never sees does not reach it, at whatever column it lies."""
    for width, stride in ((18, 1), (33, 1), (20, 2), (41, 2)):
        x = np.zeros((1, 2, 6, width), np.float32)
        x[..., -1] = np.inf
        grad = np.ones((1, 2, (6 - 3) // stride + 1, (width - 3) // stride + 1), np.float32)
        seen = (grad.shape[3] - 1) * stride  # the last column that tap 0 sees
        w = _core.conv3d_backward_weight(2, grad, x, (2, 1, 3, 3), stride, 0, 1, 2, "zeros")
        for tap in range(3):
            assert np.isinf(w[..., tap]).all() == (seen + tap == width - 1)
            assert not np.isnan(w).any()


SPARSE = [
    # channels, out, size, kernel, stride, padding, output_padding
    (20, 33, (9, 40), (1, 1), (2, 2), (0, 0), (1, 0)),
    (9, 18, (5, 7), (1, 1), (2, 2), (0, 1), (0, 1)),
    (9, 18, (8, 6), (1, 3), (3, 1), (2, 1), (1, 0)),
    (6, 7, (5, 9), (2, 1), (1, 3), (0, 2), (0, 2)),
    (5, 17, (33,), (1,), (2,), (1,), (1,)),
    (5, 16, (3, 6, 9), (1, 1, 1), (2, 1, 2), (0, 0, 0), (0, 0, 1)),
]
JOINT = [
    # channels, out, size, kernel, stride, padding, output_padding
    (20, 3, (9, 21), (7, 7), (2, 2), (3, 3), (1, 1)),
    (9, 3, (8, 40), (3, 5), (2, 2), (1, 0), (0, 1)),
    (6, 2, (5, 7), (4, 6), (2, 3), (2, 4), (0, 2)),
    (17, 4, (33,), (5,), (2,), (2,), (1,)),
    (5, 1, (3, 6, 9), (3, 3, 4), (2, 1, 2), (1, 1, 2), (0, 0, 1)),
]


@pytest.mark.parametrize("problem", SPARSE + JOINT)
def test_phases_together(problem, isa, dtype, rng):
    channels, out, size, kernel, stride, padding, extra = problem
    x = normal(rng, 3, channels, *size, dtype=dtype)
    w, b = normal(rng, channels, out, *kernel, dtype=dtype), normal(rng, out, dtype=dtype)

    def call(x):
        return CONV_TRANSPOSE[len(size)](x, w, b, stride, padding, extra)

    y = same_bytes_for_every_thread_count(lambda: call(x))
    pairs, ones = tuple((p, p) for p in padding), (1,) * len(size)
    expected = reference.conv_transpose(x, w, b, stride, pairs, extra, ones, 1)
    assert_close(y, expected, w[:, 0].size)
    assert same_bytes(call(x[1]), y[1])


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_depthwise_padding_modes(mode, rng):
    x, w, b = normal(rng, 2, 3, 6, 20), normal(rng, 6, 1, 3, 3), normal(rng, 6)

    def f(x, w, b):
        return F.conv2d(x, w, b, (2, 1), ((1, 2), (2, 5)), 1, 3, padding_mode=mode)

    gradcheck(f, x, w, b)
    common = ((2, 1), ((1, 2), (2, 5)), (1, 1), 3)
    assert_close(f(x, w, b), reference.conv(x, w, b, *common, mode), 9)


@pytest.mark.parametrize("groups", [40, 10])
def test_grouped_threads_and_batch(groups, rng):
    x = normal(rng, 3, 40, 30, 31, dtype=np.float32)
    w = normal(rng, 40, 40 // groups, 3, 3, dtype=np.float32)
    b = normal(rng, 40, dtype=np.float32)
    grad = normal(rng, 3, 40, 15, 16, dtype=np.float32)
    settings = {"stride": 2, "padding": 1, "groups": groups}
    whole = same_bytes_for_every_thread_count(lambda: all_results(x, w, b, grad, **settings))
    alone = all_results(x[1:2], w, b, grad[1:2], **settings)
    assert same_bytes(alone[:2], [whole[0][1:2], whole[1][1:2]])


WINOGRAD = [
    # batch, channels, out, height, width, groups
    (1, 16, 16, 10, 10, 1),
    (2, 17, 30, 14, 14, 1),
    (3, 40, 20, 9, 23, 1),
    (1, 16, 16, 12, 300, 1),
    (5, 16, 33, 13, 17, 1),
    (2, 32, 48, 16, 15, 2),
    (3, 17, 47, 7, 7, 1),
    (11, 16, 16, 5, 3, 1),
]


@pytest.mark.parametrize("shape", WINOGRAD)
@pytest.mark.parametrize("padding", [0, 1, ((2, 0), (1, 3))])
def test_winograd(shape, padding, isa, rng):
    batch, channels, out, height, width, groups = shape
    x = normal(rng, batch, channels, height, width, dtype=np.float32)
    w = normal(rng, out, channels // groups, 3, 3, dtype=np.float32)
    b = normal(rng, out, dtype=np.float32)
    pairs = padding if isinstance(padding, tuple) else ((padding, padding),) * 2
    common = ((1, 1), pairs, (1, 1), groups)
    expected = reference.conv(x, w, b, *common)
    y = F.conv2d(x, w, b, 1, padding, 1, groups)
    assert error(y, expected) < 1e-5
    grad = normal(rng, *y.shape, dtype=np.float32)
    grad_x = all_results(x, w, b, grad, padding=padding, groups=groups)[1]
    rest = tuple(0 for _ in pairs)
    expected = reference.conv_transpose(grad, w, None, (1, 1), pairs, rest, (1, 1), groups)
    assert error(grad_x, expected) < 1e-5


@pytest.mark.parametrize(
    "kernel",
    [
        (5, 5),
        (1, 3),
        (3, 1),
        (1, 5),
        (1, 7),
        (7, 1),
        (2, 1),
        (1, 2),
        (3, 2),
        (2, 3),
        (5, 2),
        (5, 3),
    ],
)
@pytest.mark.parametrize("size", [(13, 17), (3, 9), (1, 150)])
def test_winograd_of_other_kernels(kernel, size, isa, rng):
    x = normal(rng, 3, 34, *size, dtype=np.float32)
    w = normal(rng, 50, 17, *kernel, dtype=np.float32)
    b = normal(rng, 50, dtype=np.float32)
    padding = tuple(k // 2 for k in kernel)
    common = ((1, 1), tuple((p, p) for p in padding), (1, 1), 2)
    y = F.conv2d(x, w, b, 1, padding, 1, 2)
    assert error(y, reference.conv(x, w, b, *common)) < 1e-5
    grad = normal(rng, *y.shape, dtype=np.float32)
    grad_x = all_results(x, w, b, grad, padding=padding, groups=2)[1]
    expected = reference.conv_transpose(grad, w, None, common[0], common[1], (0, 0), (1, 1), 2)
    assert error(grad_x, expected) < 1e-5
    for i in range(3):
        assert same_bytes(F.conv2d(x[i], w, b, 1, padding, 1, 2), y[i])
    same_bytes_for_every_thread_count(lambda: F.conv2d(x, w, b, 1, padding, 1, 2))


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (3, 2), (5, 2), (6, 3), (2, 1)])
@pytest.mark.parametrize("size", [(11, 12), (5, 6)])
def test_winograd_of_phases(kernel, stride, size, isa, rng):
    x = normal(rng, 2, 40, *size, dtype=np.float32)
    w = normal(rng, 40, 18, kernel, kernel, dtype=np.float32)
    b = normal(rng, 36, dtype=np.float32)

    def call(x):
        return F.conv_transpose2d(x, w, b, stride, 1, 0, 2)

    y = same_bytes_for_every_thread_count(lambda: call(x))
    expected = reference.conv_transpose(x, w, b, (stride,) * 2, ((1, 1),) * 2, (0, 0), (1, 1), 2)
    assert error(y, expected) < 1e-5
    assert same_bytes(call(x[1]), y[1])


@pytest.mark.parametrize(
    ("kernel", "stride", "size"),
    [
        ((3, 3), (2, 2), (13, 17)),
        ((3, 3), (2, 2), (8, 40)),
        ((3, 3), (2, 2), (70, 9)),
        ((4, 4), (2, 2), (13, 17)),
        ((4, 4), (2, 2), (8, 40)),
        ((1, 3), (1, 2), (3, 31)),
        ((1, 3), (1, 2), (1, 150)),
    ],
)
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((0, 1), (1, 2)), ((2, 0), (3, 0))])
def test_winograd_of_steps(kernel, stride, size, padding, isa, rng):
    x = normal(rng, 3, 34, *size, dtype=np.float32)
    w = normal(rng, 50, 17, *kernel, dtype=np.float32)
    b = normal(rng, 50, dtype=np.float32)

    def call(x):
        return F.conv2d(x, w, b, stride, padding, 1, 2)

    y = same_bytes_for_every_thread_count(lambda: call(x))
    assert error(y, reference.conv(x, w, b, stride, padding, (1, 1), 2)) < 1e-5
    assert same_bytes(call(x[1]), y[1])


def test_columns_of_a_product_do_not_depend_on_their_number(isa, dtype, rng):
    """Tiles end in whole vectors, parts of one and halves, for every number of rows."""
    x, w = normal(rng, 1, 20, 70, dtype=dtype), normal(rng, 30, 20, 1, dtype=dtype)
    bias = normal(rng, 30, dtype=dtype)
    for rows in (14, 15, 19, 23, 26, 30):
        expected = reference.conv(x, w[:rows], bias[:rows], (1,), ((0, 0),), (1,), 1)
        all_columns = F.conv1d(x, w[:rows], bias[:rows])
        assert_close(all_columns, expected, 20)
        for n in range(1, 70):
            assert same_bytes(F.conv1d(x[..., :n], w[:rows], bias[:rows]), all_columns[..., :n])


@pytest.mark.parametrize("size", [(7, 7), (14, 14), (11, 8), (29, 30), (1, 147)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_pointwise_with_channels_in_the_lanes(size, stride, groups, isa, rng):
    x = normal(rng, 3, 100 * groups, *size, dtype=np.float32)
    w = normal(rng, 90 * groups, 100, 1, 1, dtype=np.float32)
    b = normal(rng, 90 * groups, dtype=np.float32)

    def call(x):
        return F.conv2d(x, w, b, stride, 0, 1, groups)

    y = same_bytes_for_every_thread_count(lambda: call(x))
    expected = reference.conv(x, w, b, (stride, stride), ((0, 0), (0, 0)), (1, 1), groups)
    assert_close(y, expected, 100)
    assert same_bytes(call(x[1]), y[1])


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("stride", [1, 2])
def test_winograd_padding_modes(mode, stride, rng):
    x = normal(rng, 1, 16, 12, 19, dtype=np.float32)
    w = normal(rng, 16, 16, 3, 3, dtype=np.float32)
    padding = ((3, 5), (2, 7))
    expected = reference.conv(x, w, None, (stride, stride), padding, (1, 1), 1, mode)
    assert error(F.conv2d(x, w, None, stride, padding, padding_mode=mode), expected) < 1e-5


@pytest.mark.parametrize("size", [(15, 18), (7, 6)])
def test_winograd_threads_and_batch(size, rng):
    x = normal(rng, 5, 20, *size, dtype=np.float32)
    w = normal(rng, 37, 20, 3, 3, dtype=np.float32)
    b = normal(rng, 37, dtype=np.float32)
    grad = normal(rng, 5, 37, *size, dtype=np.float32)
    whole = same_bytes_for_every_thread_count(lambda: all_results(x, w, b, grad, padding=1))
    for i in range(5):
        alone = same_bytes_for_every_thread_count(
            lambda i=i: all_results(x[i : i + 1], w, b, grad[i : i + 1], padding=1)
        )
        assert same_bytes(alone[:2], [whole[0][i : i + 1], whole[1][i : i + 1]])


GRADIENT_SHAPES = [  # sizes, kernel, stride
    ((11, 18), (3, 3), (1, 1)),
    ((7, 7), (3, 3), (1, 1)),
    ((21, 18), (5, 2), (1, 1)),
    ((6, 40), (1, 7), (1, 1)),
    ((33, 30), (10, 5), (2, 2)),
    ((29, 30), (7, 11), (2, 3)),
    ((300,), (3,), (1,)),
    ((5, 13, 14), (3, 3, 3), (2, 1, 1)),
]


def check_winograd_gradient(x, out, kernel, stride, padding, groups, mode):
    w_shape = (out, x.shape[1] // groups, *kernel)
    w = np.zeros(w_shape, np.float32)
    y = CONV[len(kernel)](x, w, None, stride, padding, 1, groups, padding_mode=mode)
    grad = normal(np.random.default_rng(1), *y.shape, dtype=np.float32)

    def gradient():
        return _core.conv3d_backward_weight(
            len(kernel), grad, x, w_shape, stride, padding, 1, groups, mode
        )

    grad_w = gradient()
    padding = tuple(p if isinstance(p, tuple) else (p, p) for p in padding)
    common = (stride, padding, (1,) * len(kernel), groups)
    expected = reference.conv_backward_weight(grad, x, kernel, *common, mode)
    assert error(grad_w, expected) < 5e-6
    try:
        fastnn.set_conv_precision("highest")
        assert not same_bytes(gradient(), grad_w)  # it is Winograd that has been tested
    finally:
        fastnn.set_conv_precision("default")


@pytest.mark.parametrize(("size", "kernel", "stride"), GRADIENT_SHAPES)
@pytest.mark.parametrize(("channels", "out", "groups"), [(61, 83, 1), (128, 140, 2)])
def test_winograd_gradient(size, kernel, stride, channels, out, groups, isa, rng):
    x = normal(rng, 2, channels, *size, dtype=np.float32)
    padding = tuple((k // 2, k // 3) for k in kernel)
    check_winograd_gradient(x, out, kernel, stride, padding, groups, "zeros")


# Parts of the kernel with unlike numbers of taps.
@pytest.mark.parametrize(
    ("size", "kernel", "stride"),
    [
        ((1499,), (3,), (2,)),
        ((39, 38), (3, 3), (2, 2)),
        ((9, 38), (1, 7), (1, 1)),
        ((20, 39), (4, 3), (1, 2)),
        ((3, 29, 20), (2, 3, 1), (1, 2, 1)),
    ],
)
def test_winograd_gradient_of_parts(size, kernel, stride, isa, rng):
    x = normal(rng, 1, 320, *size, dtype=np.float32)
    padding = tuple((k // 2, k // 3) for k in kernel)
    check_winograd_gradient(x, 202, kernel, stride, padding, 1, "zeros")


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("stride", [1, 2])
def test_winograd_gradient_padding_modes(mode, stride, rng):
    x = normal(rng, 2, 40, 12, 29, dtype=np.float32)
    check_winograd_gradient(x, 60, (8, 7), (stride, stride), ((3, 5), (2, 7)), 1, mode)


def test_winograd_gradient_threads(rng):
    for shape, out, kernel in (
        ((9, 40, 30, 31), 35, 3),  # several chunks of tiles
        ((2, 130, 7, 7), 150, 3),
        ((3, 20, 18, 19), 20, 5),
    ):
        x = normal(rng, *shape, dtype=np.float32)
        grad = normal(rng, shape[0], out, *shape[2:], dtype=np.float32)
        w_shape = (out, shape[1], kernel, kernel)
        same_bytes_for_every_thread_count(
            lambda x=x, grad=grad, w_shape=w_shape, kernel=kernel: _core.conv3d_backward_weight(
                2, grad, x, w_shape, 1, kernel // 2, 1, 1, "zeros"
            )
        )


def test_conv_precision(rng):
    x = normal(rng, 2, 64, 14, 14, dtype=np.float32)
    w = normal(rng, 64, 64, 3, 3, dtype=np.float32)
    assert fastnn.get_conv_precision() == "default"
    expected = reference.conv(x, w, None, (1, 1), ((1, 1),) * 2, (1, 1), 1)
    default = error(F.conv2d(x, w, padding=1), expected)
    try:
        fastnn.set_conv_precision("highest")
        assert fastnn.get_conv_precision() == "highest"
        highest = error(F.conv2d(x, w, padding=1), expected)
    finally:
        fastnn.set_conv_precision("default")
    assert highest < default < 1e-5
    assert highest < 2e-6
    with pytest.raises(ValueError, match="set_conv_precision: precision must be"):
        fastnn.set_conv_precision("low")
    for wrong in (3, None, True, b"default", ["default"]):
        with pytest.raises(TypeError, match="set_conv_precision: precision must be a str, got "):
            fastnn.set_conv_precision(wrong)


# in_channels, out_channels, size, kernel, stride, groups: one of every algorithm
ALGORITHMS = {
    "winograd of 4": (20, 40, (14, 15), 3, 1, 1),
    "winograd of 2": (17, 35, (6, 5), 3, 1, 1),
    "winograd of 5x5": (17, 35, (6, 15), 5, 1, 1),
    "phases of 2x2": (20, 40, (14, 15), 4, 2, 1),
    "phases of all kinds": (20, 40, (14, 15), 3, 2, 1),
    "winograd of steps": (20, 30, (14, 15), 3, 2, 1),
    "im2col": (20, 70, (14, 15), 7, 2, 1),
    "rows in place": (20, 30, (20, 67), 7, 2, 1),
    "rows in place, less one": (20, 34, (20, 66), 7, 2, 2),
    "many rows": (20, 30, (40, 41), 5, 2, 1),
    "small images": (24, 30, (5, 5), 3, 2, 1),
    "pointwise": (24, 50, (9, 9), 1, 1, 1),
    "large pointwise": (80, 110, (9, 9), 1, 2, 1),
    "grouped": (24, 36, (9, 9), 3, 2, 2),
    "direct": (3, 8, (14, 15), 3, 1, 1),
    "depthwise": (12, 12, (14, 15), 3, 1, 12),
    "pointwise, step 2": (24, 50, (9, 19), 1, 2, 1),
    "few channels": (20, 3, (7, 23), 5, 2, 1),
    "depthwise, step 2": (12, 12, (7, 23), 3, 2, 12),
    "depthwise 5x5, step 2": (12, 12, (6, 15), 5, 2, 12),
}


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("transposed", [False, True])
def test_layer_keeps_prepared_weights(name, transposed, isa, dtype, rng):
    c, k, size, kernel, stride, groups = ALGORITHMS[name]
    kind = fastnn.nn.ConvTranspose2d if transposed else fastnn.nn.Conv2d
    layer = kind(c, k, kernel, stride, 1, groups=groups, dtype=dtype)
    x = normal(rng, 3, c, *size, dtype=dtype)

    def expected():
        function = F.conv_transpose2d if transposed else F.conv2d
        return function(x, layer.weight.data, layer.bias.data, stride, 1, groups=groups)

    def infer():
        with fastnn.no_grad():
            return layer(x)

    assert same_bytes(infer(), expected())
    assert same_bytes(infer(), expected())
    assert not layer.weight.data.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        layer.weight.data[0] = 0
    layer.weight.data = layer.weight.data + layer.weight.data
    assert same_bytes(infer(), expected())
    tensor = fastnn.Tensor(x, requires_grad=True)
    layer(tensor)  # recording drops what is kept
    assert layer.weight.data.flags.writeable
    layer.weight.data[...] *= 2
    assert same_bytes(infer(), expected())
    layer.load_state_dict({n: a * 3 for n, a in layer.state_dict().items()})
    assert same_bytes(infer(), expected())


def test_prepared_weights_follow_precision_isa_and_sharing(rng):
    layer = fastnn.nn.Conv2d(32, 32, 3, padding=1)
    shared = fastnn.nn.ConvTranspose2d(32, 32, 3, stride=2)
    shared.weight = layer.weight
    grouped = fastnn.nn.Conv2d(64, 32, 3, groups=2)
    grouped.weight = layer.weight
    x, wide = (normal(rng, 1, c, 14, 14, dtype=np.float32) for c in (32, 64))
    w, active = layer.weight, _core.active_isa()
    try:
        for isa in [*_core.available_isas(), active]:
            _core.use_isa(isa)
            for precision in ("highest", "default"):
                fastnn.set_conv_precision(precision)
                with fastnn.no_grad():
                    for _ in range(2):
                        expected = F.conv2d(x, w.data, layer.bias.data, padding=1)
                        assert same_bytes(layer(x), expected)
                        expected = F.conv_transpose2d(x, w.data, shared.bias.data, 2)
                        assert same_bytes(shared(x), expected)
                        expected = F.conv2d(wide, w.data, grouped.bias.data, groups=2)
                        assert same_bytes(grouped(wide), expected)
    finally:
        _core.use_isa(active)
        fastnn.set_conv_precision("default")


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("activation", [None, ("relu",), ("leaky_relu", 0.1), ("silu",)])
def test_epilogue(name, transposed, activation, isa, dtype, rng):
    c, k, size, kernel, stride, groups = ALGORITHMS[name]
    x = normal(rng, 3, c, *size, dtype=dtype)
    b = normal(rng, k, dtype=dtype)
    if transposed:
        w = normal(rng, c, k // groups, kernel, kernel, dtype=dtype)
        plain = F.conv_transpose2d(x, w, b, stride, 1, 0, groups)

        def fused(residual):
            return _core.conv_transpose3d_forward(
                2, x, w, b, stride, 1, 0, groups, 1, None, None, activation, residual
            )
    else:
        w = normal(rng, k, c // groups, kernel, kernel, dtype=dtype)
        plain = F.conv2d(x, w, b, stride, 1, 1, groups)

        def fused(residual):
            return _core.conv3d_forward(
                2, x, w, b, stride, 1, 1, groups, "zeros", None, None, activation, residual
            )

    for residual in (None, normal(rng, *plain.shape, dtype=dtype)):
        total = plain if residual is None else plain + residual
        expected = getattr(F, activation[0])(total, *activation[1:]) if activation else total
        y = same_bytes_for_every_thread_count(lambda r=residual: fused(r))
        assert_close(y, expected, 10, scale=10.0)


def test_small_images_share_a_product(rng):
    for size, padding, stride in [((7, 7), 1, 1), ((5, 3), 1, 2), ((9, 11), 0, 1)]:
        x = normal(rng, 30, 40, *size, dtype=np.float32)
        w = normal(rng, 20, 40, 3, 3, dtype=np.float32)
        b = normal(rng, 20, dtype=np.float32)
        y = F.conv2d(x, w, b, stride, padding)
        expected = reference.conv(x, w, b, (stride,) * 2, ((padding,) * 2,) * 2, (1, 1), 1)
        assert_close(y, expected, 360)
        for i in (0, 13, 29):
            assert same_bytes(F.conv2d(x[i], w, b, stride, padding), y[i])
        same_bytes_for_every_thread_count(
            lambda x=x, w=w, b=b, s=stride, p=padding: F.conv2d(x, w, b, s, p)
        )
