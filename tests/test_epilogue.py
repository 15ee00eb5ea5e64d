"""What products apply to their tiles: scale, bias, residual, activation; and who uses it."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import same_bytes_for_every_thread_count

import fastnn
import fastnn.functional as F
from fastnn import nn
from fastnn.functional._fused import DEFAULTS
from fastnn.nn.elementwise import _FUSABLE


def operands(rng, dtype, m=37, n=45, k=19):
    shapes = (m, k), (n, k), (n,), (m, n)
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", DEFAULTS)
def test_activation_has_the_bits_of_its_function(isa, dtype, name, rng):
    x, w, b, r = operands(rng, dtype)
    function = F.gelu if name == "gelu_tanh" else getattr(F, name)
    keywords = {"approximate": "tanh"} if name == "gelu_tanh" else {}
    fused = F.linear(x, w, b, activation=name)
    assert fused.tobytes() == function(F.linear(x, w, b), **keywords).tobytes()
    fused = F.linear(x, w, b, residual=r, activation=name)
    assert fused.tobytes() == function(F.linear(x, w, b) + r, **keywords).tobytes()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 70, 3), (15, 33, 600), (200, 300, 70)])
def test_scale_residual_activation_together(isa, shape, rng):
    x, w, b, r = operands(rng, np.float64, *shape)

    def call():
        return F.linear(x, w, b, scale=-0.5, residual=r, activation=("leaky_relu", 0.3))

    expected = -0.5 * (x @ w.T) + b + r
    expected = np.where(expected > 0, expected, 0.3 * expected)
    np.testing.assert_allclose(call(), expected, atol=1e-12 * shape[2])
    same_bytes_for_every_thread_count(call)
    row = F.linear(x[:1], w, b, scale=-0.5, residual=r[:1], activation=("leaky_relu", 0.3))
    assert row.tobytes() == call()[:1].tobytes()


@pytest.mark.parametrize("which", range(4))
def test_recording(which, rng):
    arrays = list(operands(rng, np.float64, 3, 4, 5))
    keywords = {"scale": 0.5, "activation": "tanh"}
    plain = F.linear(*arrays[:3], residual=arrays[3], **keywords)
    arrays[which] = fastnn.Tensor(arrays[which], requires_grad=True)
    y = F.linear(*arrays[:3], residual=arrays[3], **keywords)
    np.testing.assert_allclose(y.data, plain, rtol=1e-14)
    y.sum().backward()
    assert arrays[which].grad.shape == arrays[which].shape
    assert np.all(np.isfinite(arrays[which].grad))


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"activation": "rely"}, ValueError, "linear: activation must be one of celu, .*'rely'"),
        ({"activation": 3}, TypeError, "linear: activation must be a name or a tuple"),
        ({"activation": ()}, TypeError, "linear: activation must be a name or a tuple"),
        ({"activation": ("relu", 1.0)}, ValueError, "'relu' has 0 parameters, got 1"),
        ({"activation": ("elu", "a")}, TypeError, "parameter must be a number"),
        ({"activation": ("celu", 0.0)}, ValueError, "celu: alpha must not be 0"),
        ({"scale": "a"}, TypeError, "linear: scale must be a number"),
        ({"residual": np.ones((2, 3))}, ValueError, r"linear: residual\.shape must be \(2, 4\)"),
        ({"residual": np.ones((2, 4), np.float32)}, TypeError, "linear: residual"),
    ],
)
def test_bad_arguments(keywords, error, message):
    x, w = np.ones((2, 3)), np.ones((4, 3))
    for first in (x, fastnn.Tensor(x, requires_grad=True)):
        if "float32" in str(keywords.get("residual", np.ones(1)).dtype) and first is not x:
            continue
        with pytest.raises(error, match=message):
            F.linear(first, w, **keywords)
    out = np.ones((2, 4))
    with pytest.raises(ValueError, match="out"):
        F.linear(x, w, residual=out, out=out)


@pytest.mark.parametrize("kind", _FUSABLE)
def test_sequential_fuses(kind, rng):
    arguments = (0.1, 2.0) if kind is nn.Threshold else ()
    model = nn.Sequential(nn.Linear(7, 33), kind(*arguments), nn.Linear(33, 5), kind(*arguments))
    x = rng.standard_normal((11, 7), dtype=np.float32)
    with fastnn.no_grad():
        y = model(x)
        expected = x
        for layer in model:
            expected = layer(expected)
    assert y.tobytes() == expected.tobytes()
    assert model(fastnn.Tensor(x)).data.tobytes() == expected.tobytes()


def test_sequential_fuses_into_convolutions(rng):
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.SiLU(), nn.Conv2d(5, 4, 1, groups=1), nn.ReLU6())
    x = rng.standard_normal((2, 3, 9, 8), dtype=np.float32)
    with fastnn.no_grad():
        y = model(x)
        expected = x
        for layer in model:
            expected = layer(expected)
    assert y.tobytes() == expected.tobytes()


def test_sequential_respects_derived_layers(rng):
    class Doubled(nn.Linear):
        def forward(self, input):
            return 2 * super().forward(input)

    class Shifted(nn.ReLU):
        def forward(self, input):
            return super().forward(input) + 1

    x = rng.standard_normal((3, 4), dtype=np.float32)
    for layers in ([Doubled(4, 4), nn.ReLU()], [nn.Linear(4, 4), Shifted()]):
        with fastnn.no_grad():
            expected = layers[1](layers[0](x))
            assert nn.Sequential(*layers)(x).tobytes() == expected.tobytes()


def test_layers_with_bad_parameters_still_complain():
    layer = nn.CELU(1.0)
    layer.alpha = 0.0
    with fastnn.no_grad(), pytest.raises(ValueError, match="celu: alpha"):
        nn.Sequential(nn.Linear(2, 2), layer)(np.ones((1, 2), np.float32))
