"""nn.fuse against the model it is made from."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import gradcheck, same_bytes

import fastnn
from fastnn import nn

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def normal(rng, *shape, dtype=np.float64):
    return rng.standard_normal(shape).astype(dtype)


def trained(model, rng):
    """The model in evaluation mode, with other statistics and parameters than the initial."""
    for module in model.modules():
        if isinstance(module, tuple(NORM.values())) and module.running_mean is not None:
            module.running_mean[...] = rng.standard_normal(module.num_features)
            module.running_var[...] = rng.uniform(0.5, 2, module.num_features)
        for parameter in module.parameters(recurse=False):
            parameter.data[...] += rng.uniform(-0.5, 0.5, parameter.shape)
    return model.eval()


def infer(model, *inputs):
    with fastnn.no_grad():
        return model(*inputs)


def check(model, x, expected_types=None):
    state = {name: value.copy() for name, value in model.state_dict().items()}
    expected = infer(model, x)
    fused = nn.fuse(model)
    assert not fused.training
    if expected_types is not None:
        assert [type(module) for module in fused] == expected_types
    scale = np.abs(expected).max()
    eps = np.finfo(x.dtype).eps
    assert np.abs(infer(fused, x) - expected).max() <= 100 * eps * scale
    assert np.abs(np.asarray(fused(fastnn.Tensor(x))) - expected).max() <= 100 * eps * scale
    assert state.keys() == model.state_dict().keys()
    assert all(same_bytes(value, model.state_dict()[name]) for name, value in state.items())
    return fused


@pytest.mark.parametrize("kinds", [CONV, TRANSPOSED], ids=["conv", "transposed"])
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm(kinds, dims, groups, bias, affine, rng, dtype):
    model = nn.Sequential(
        kinds[dims](4, 6, 3, stride=2, padding=1, groups=groups, bias=bias, dtype=dtype),
        NORM[dims](6, affine=affine, dtype=dtype),
        nn.SiLU(),
    )
    x = normal(rng, 2, 4, *[7] * dims, dtype=dtype)
    check(trained(model, rng), x, [nn.Fused])


ACTIVATIONS = [
    nn.ReLU(),
    nn.ReLU(inplace=True),
    nn.ReLU6(),
    nn.LeakyReLU(0.2),
    nn.Threshold(0.1, 20.0),
    nn.Hardtanh(-0.5, 0.7),
    nn.Hardsigmoid(),
    nn.Hardswish(),
    nn.Hardshrink(0.4),
    nn.Softshrink(0.4),
    nn.Softsign(),
    nn.Sigmoid(),
    nn.LogSigmoid(),
    nn.Tanh(),
    nn.Tanhshrink(),
    nn.ELU(0.7),
    nn.CELU(0.7),
    nn.SELU(),
    nn.Softplus(2.0, 3.0),
    nn.SiLU(),
    nn.Mish(),
    nn.GELU(),
    nn.GELU("tanh"),
]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_activations(activation, rng):
    model = nn.Sequential(nn.Conv2d(3, 17, 3, dtype=np.float64), activation).eval()
    check(model, normal(rng, 2, 3, 9, 21), [nn.Fused])


def test_a_network(rng, isa):
    model = nn.Sequential(
        nn.Conv2d(3, 24, 3, 2, 1, bias=False),
        nn.BatchNorm2d(24),
        nn.Hardswish(),
        nn.Sequential(
            nn.SeparableConv2d(24, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU6(),
            nn.Dropout2d(0.5),
            nn.Conv2d(32, 48, 3, padding=1),
            nn.Identity(),
            nn.BatchNorm2d(48),
            nn.LeakyReLU(),
        ),
        nn.ConvTranspose2d(48, 8, 4, 2, 1),
        nn.Sigmoid(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
        nn.BatchNorm1d(10),
        nn.ReLU(),
    )
    x = normal(rng, 2, 3, 28, 28, dtype=np.float32)
    fused = check(trained(model, rng), x)
    assert [type(m) for m in fused[1]] == [nn.SeparableConv2d, nn.Fused]
    assert isinstance(fused[1][0].pointwise, nn.Fused)
    assert not any(isinstance(m, tuple(NORM.values())) for m in fused.modules())


def test_what_is_left_alone(rng):
    shared = nn.Conv2d(4, 4, 1)
    model = nn.Sequential(
        nn.BatchNorm2d(4),
        shared,
        nn.BatchNorm2d(4, track_running_stats=False),
        shared,
        nn.PReLU(),
        shared,
        nn.BatchNorm2d(4),
        nn.Softmax(1),
    )
    fused = check(trained(model, rng), normal(rng, 3, 4, 5, 5, dtype=np.float32))
    kept = [nn.BatchNorm2d, nn.Conv2d, nn.BatchNorm2d, nn.Conv2d, nn.PReLU, nn.Conv2d, nn.Softmax]
    assert [type(m) for m in fused] == kept
    assert fused[1] is fused[3]
    assert fused[1] is not fused[5]


def test_other_containers(rng):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(4)
            self.conv = nn.Conv2d(4, 4, 1)
            self.body = nn.Sequential({"conv": nn.Conv2d(4, 4, 1), "norm": nn.BatchNorm2d(4)})

        def forward(self, x):
            return x + self.body(self.conv(self.norm(x)))

    class Reversed(nn.Sequential):
        def forward(self, input):
            for module in reversed(list(self)):
                input = module(input)
            return input

    x = normal(rng, 2, 4, 6, 6, dtype=np.float32)
    fused = check(trained(Block(), rng), x)
    assert list(dict(fused.body.named_children())) == ["conv"]
    check(
        trained(Reversed(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), rng),
        x,
        [nn.Conv2d, nn.BatchNorm2d],
    )


def test_residual_and_gradients(rng):
    layer = nn.Conv2d(3, 3, 3, padding=1, dtype=np.float64)
    block = nn.Fused(layer, nn.Tanh())
    x, residual = normal(rng, 2, 3, 5, 6), normal(rng, 2, 3, 5, 6)
    expected = np.tanh(infer(layer, x) + residual)
    assert np.allclose(infer(block, x, residual), expected, rtol=1e-13, atol=1e-13)
    gradcheck(block, x, residual)
    with pytest.raises(ValueError, match=r"conv2d: residual\.shape must be"):
        infer(block, x, residual[:1])


def test_errors():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU()))
    with pytest.raises(ValueError, match=r"fuse: model must be in evaluation mode, call eval\(\)"):
        nn.fuse(model)
    model.eval()[1].train()
    with pytest.raises(ValueError, match="not so in '1'"):
        nn.fuse(model)
    with pytest.raises(TypeError, match="fuse: model must be a Module, got function"):
        nn.fuse(lambda x: x)
    with pytest.raises(TypeError, match="Fused: layer must be Linear or a convolution, got ReLU"):
        nn.Fused(nn.ReLU(), nn.ReLU())
    with pytest.raises(TypeError, match="Fused: activation must be an element-wise activation"):
        nn.Fused(nn.Conv2d(1, 1, 1), nn.PReLU())


@pytest.mark.parametrize(("layer", "activation"), [("a", nn.ReLU()), (nn.Linear(1, 1), None)])
def test_parts_that_are_no_modules_are_refused(layer, activation):
    with pytest.raises(TypeError, match=r"Fused: (layer|activation) must be"):
        nn.Fused(layer, activation)
