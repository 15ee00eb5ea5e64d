"""Optimizers against the element-by-element reference; clipping; state dicts; errors."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from helpers import same_bytes_for_every_thread_count, strided_variants
from reference import optim as reference

from fastnn import _core
from fastnn.nn.module import Parameter
from fastnn.optim import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    clip_grad_norm_,
    clip_grad_value_,
)
from fastnn.tensor import Tensor

SGD_CASES = [
    {"lr": 0.1},
    {"lr": 0.1, "weight_decay": 0.3},
    {"lr": 0.1, "momentum": 0.9},
    {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
    {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    {"lr": 0.1, "momentum": 0.5, "maximize": True},
]
ADAM_CASES = [
    {"lr": 0.1},
    {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3},
    {"lr": 0.1, "weight_decay": 0.2},
    {"lr": 0.1, "amsgrad": True},
    {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1, "maximize": True},
]
RMSPROP_CASES = [
    {"lr": 0.1},
    {"lr": 0.01, "alpha": 0.5, "weight_decay": 0.2, "maximize": True},
    {"lr": 0.01, "momentum": 0.9},
    {"lr": 0.01, "centered": True, "eps": 1e-2},
    {"lr": 0.01, "centered": True, "eps": 1e-2, "momentum": 0.5},
]
ADAGRAD_CASES = [
    {"lr": 0.1},
    {"lr": 0.1, "lr_decay": 0.5, "weight_decay": 0.2, "initial_accumulator_value": 0.3},
    {"lr": 0.1, "eps": 1e-3, "maximize": True},
]
LION_CASES = [
    {"lr": 0.1},
    {"lr": 0.1, "betas": (0.5, 0.25), "weight_decay": 0.3, "maximize": True},
]
ADAMAX_CASES = [
    {"lr": 0.1},
    {"lr": 0.1, "betas": (0.5, 0.25), "weight_decay": 0.2, "maximize": True},
]
# With beta2 = 0.6 the rectification begins within the steps taken.
DECOUPLED_CASES = [
    {"lr": 0.1},
    {"lr": 0.1, "betas": (0.5, 0.6), "eps": 1e-3, "weight_decay": 0.2, "maximize": True},
    {"lr": 0.1, "betas": (0.9, 0.8), "weight_decay": 0.2, "decoupled_weight_decay": True},
]
ADADELTA_CASES = [
    {},
    {"lr": 0.5, "rho": 0.5, "eps": 1e-2, "weight_decay": 0.2, "maximize": True},
]
CASES = [
    *((Adamax, reference.adamax, {}, case) for case in ADAMAX_CASES),
    *((NAdam, reference.nadam, {}, case) for case in DECOUPLED_CASES),
    (NAdam, reference.nadam, {}, {"lr": 0.1, "momentum_decay": 0.5}),
    *((RAdam, reference.radam, {}, case) for case in DECOUPLED_CASES),
    *((Adadelta, reference.adadelta, {}, case) for case in ADADELTA_CASES),
    *((RMSprop, reference.rmsprop, {}, case) for case in RMSPROP_CASES),
    *((Adagrad, reference.adagrad, {}, case) for case in ADAGRAD_CASES),
    *((Lion, reference.lion, {}, case) for case in LION_CASES),
    *((SGD, reference.sgd, {}, case) for case in SGD_CASES),
    *((Adam, reference.adam, {}, case) for case in ADAM_CASES),
    (Adam, reference.adam, {}, {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True}),
    *((AdamW, reference.adam, {"decoupled_weight_decay": True}, case) for case in ADAM_CASES),
]
STEPS = 6


def run(optimizer: Optimizer, param: Tensor, grads: list[np.ndarray]) -> list[np.ndarray]:
    values = []
    for grad in grads:
        param.grad = grad.copy()
        optimizer.step()
        np.testing.assert_array_equal(param.grad, grad)
        values.append(param.data.copy())
    return values


def gradients(rng: np.random.Generator, shape: tuple[int, ...], dtype: object) -> list[np.ndarray]:
    scales = 10.0 ** rng.integers(-3, 3, STEPS)
    return [np.asarray(s * rng.standard_normal(shape)).astype(dtype) for s in scales]


@pytest.mark.parametrize("shape", [(3, 5), (), (0, 2), (67,)])
@pytest.mark.parametrize(("cls", "expected", "extra", "options"), CASES)
def test_against_the_reference(
    isa: str,
    cls: type[Optimizer],
    expected: object,
    extra: dict,
    options: dict,
    shape: tuple[int, ...],
    dtype: np.dtype,
    rng: np.random.Generator,
) -> None:
    start = np.asarray(rng.standard_normal(shape)).astype(dtype)
    grads = gradients(rng, shape, dtype)
    if cls is AdamW:
        options = {"weight_decay": 0.01, **options}
    param = Parameter(start.copy())
    held = param.data
    values = run(cls([param], **options), param, grads)
    wide = [g.astype(np.float64) for g in grads]
    wanted = expected(start.astype(np.float64), wide, **options, **extra)
    assert param.data is held
    for value, want in zip(values, wanted):
        assert value.dtype == dtype
        scale = max(1.0, float(np.max(np.abs(want), initial=0)))
        np.testing.assert_allclose(
            value, want, rtol=0, atol=16 * STEPS * np.finfo(dtype).eps * scale
        )


@pytest.mark.parametrize(
    "cls", [SGD, Adam, AdamW, Adamax, NAdam, RAdam, Adadelta, RMSprop, Adagrad, Lion]
)
def test_defaults_are_those_of_pytorch(cls: type[Optimizer]) -> None:
    group = cls([Parameter(np.ones(1))]).param_groups[0]
    common = {"lr": 1e-3, "maximize": False}
    adam = {"betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False, **common}
    variant = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, **common}
    decoupled = {"decoupled_weight_decay": False}
    wanted = {
        SGD: {"momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False, **common},
        Adam: {"weight_decay": 0, **decoupled, **adam},
        AdamW: {"weight_decay": 0.01, "decoupled_weight_decay": True, **adam},
        Adamax: {**variant, "lr": 2e-3},
        NAdam: {**variant, **decoupled, "momentum_decay": 4e-3, "lr": 2e-3},
        RAdam: {**variant, **decoupled},
        Adadelta: {"rho": 0.9, "eps": 1e-6, "weight_decay": 0, **common, "lr": 1.0},
        RMSprop: {
            "alpha": 0.99,
            "eps": 1e-8,
            "weight_decay": 0,
            "momentum": 0,
            "centered": False,
            **common,
            "lr": 1e-2,
        },
        Adagrad: {
            "lr_decay": 0,
            "weight_decay": 0,
            "initial_accumulator_value": 0,
            "eps": 1e-10,
            **common,
            "lr": 1e-2,
        },
        Lion: {"betas": (0.9, 0.99), "weight_decay": 0, **common, "lr": 1e-4},
    }[cls]
    assert {k: v for k, v in group.items() if k != "params"} == wanted


def test_state_of_nadam_is_kept_and_loaded() -> None:
    """The product of the momenta is a number, also where it comes from PyTorch as an array."""
    rng = np.random.default_rng(0)
    grads = rng.standard_normal((4, 3))
    whole, half, rest = (Parameter(np.ones(3)) for _ in range(3))
    expected = run(NAdam([whole]), whole, list(grads))[-1]
    first = NAdam([half])
    run(first, half, list(grads[:2]))
    state = first.state_dict()
    state["state"][0]["mu_product"] = np.array(state["state"][0]["mu_product"])
    second = NAdam([rest])
    second.load_state_dict(state)
    rest.data[...] = half.data
    np.testing.assert_array_equal(run(second, rest, list(grads[2:]))[-1], expected)


def test_groups() -> None:
    a, b = Parameter(np.ones(1)), Parameter(np.ones(1))
    optimizer = SGD([{"params": [a]}, {"params": b, "lr": 10.0}], lr=1.0)
    a.grad = b.grad = np.ones(1)
    optimizer.step()
    assert (a.data, b.data) == (0, -9)
    optimizer.param_groups[0]["lr"] = 2.0
    optimizer.step()
    assert (a.data, b.data) == (-2, -19)
    optimizer.zero_grad(set_to_none=False)
    assert a.grad == 0
    optimizer.zero_grad()
    assert a.grad is None
    assert "Parameter Group 1\n" in repr(optimizer)
    assert "    lr: 10.0\n" in repr(optimizer)


def test_parameters_without_gradient_are_skipped() -> None:
    a, b = Parameter(np.ones(1)), Parameter(np.ones(1))
    optimizer = AdamW([a, b])
    a.grad = np.ones(1)
    optimizer.step()
    assert a.data < 1
    assert b.data == 1
    assert b not in optimizer.state


def test_a_step_drops_the_packs() -> None:
    p = Parameter(np.ones(2))
    p.pack("form", np.copy)
    p.grad = np.ones(2)
    SGD([p], lr=1.0).step()
    np.testing.assert_array_equal(p.pack("form", np.copy), [0, 0])


def test_closure() -> None:
    p = Parameter(np.array([4.0]))
    optimizer = SGD([p], lr=0.25)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 16
    assert p.data == 2


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (SGD, {"momentum": 0.9}),
        (Adam, {"amsgrad": True}),
        (AdamW, {}),
        (RMSprop, {"momentum": 0.5, "centered": True}),
        (Adagrad, {"lr_decay": 0.1}),
        (Lion, {}),
    ],
)
def test_state_dict_continues_bit_for_bit(
    cls: type[Optimizer], options: dict, rng: np.random.Generator
) -> None:
    grads = gradients(rng, (3,), np.float32)
    first = Parameter(np.ones(3, np.float32))
    optimizer = cls([first], lr=0.1, **options)
    run(optimizer, first, grads[:3])
    second = Parameter(first.data.copy())
    twin = cls([second], lr=0.5)
    state = optimizer.state_dict()
    assert state["param_groups"][0]["params"] == [0]
    twin.load_state_dict(copy.deepcopy(state))
    twin.load_state_dict(state)
    assert twin.param_groups[0]["lr"] == 0.1
    run(optimizer, first, grads[3:])
    run(twin, second, grads[3:])
    assert first.data.tobytes() == second.data.tobytes()


def test_state_dict_has_the_names_of_pytorch() -> None:
    p, q = Parameter(np.ones(2)), Parameter(np.ones(2))
    p.grad = np.ones(2)
    optimizer = Adam([q, p], amsgrad=True)
    optimizer.step()
    assert set(optimizer.state_dict()["state"]) == {1}
    names = {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
    assert set(optimizer.state_dict()["state"][1]) == names
    optimizer = SGD([p], momentum=0.5)
    optimizer.step()
    assert set(optimizer.state_dict()["state"][0]) == {"momentum_buffer"}
    optimizer = RMSprop([p], momentum=0.5, centered=True)
    optimizer.step()
    names = {"step", "square_avg", "grad_avg", "momentum_buffer"}
    assert set(optimizer.state_dict()["state"][0]) == names
    optimizer = Adagrad([p])
    optimizer.step()
    assert set(optimizer.state_dict()["state"][0]) == {"step", "sum"}


def test_state_dicts_that_do_not_fit() -> None:
    p, q = Parameter(np.ones(2)), Parameter(np.ones(3))
    p.grad, q.grad = np.ones(2), np.ones(3)
    one, two, three = Adam([p]), Adam([q]), Adam([p, q])
    two.step()
    with pytest.raises(ValueError, match=r"parameter groups of sizes \[1\], got \[2\]"):
        one.load_state_dict(three.state_dict())
    with pytest.raises(ValueError, match=r"\['exp_avg'\] must have shape \(2,\), got \(3,\)"):
        one.load_state_dict(two.state_dict())
    assert one.state == {}


def test_state_follows_a_conversion() -> None:
    p = Parameter(np.ones(2, np.float32))
    optimizer = Adam([p])
    for dtype in (np.float32, np.float64):
        p.data = p.data.astype(dtype)
        p.grad = np.ones(2, dtype)
        optimizer.step()
        assert optimizer.state[p]["exp_avg"].dtype == dtype


ALL = [
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (AdamW, {"lr": 0.1, "amsgrad": True}),
    (RMSprop, {"momentum": 0.5, "centered": True}),
    (Adagrad, {}),
    (Lion, {}),
]


@pytest.mark.parametrize(("cls", "options"), ALL)
def test_many_arrays(isa: str, cls: type[Optimizer], options: dict, dtype: np.dtype) -> None:
    """Arrays that are cut into parts, or share one, give the bytes they give alone."""
    sizes = [3, 0, 40_001, 1, 17, 16_384, 500, 16_383, 33_000]
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal(n).astype(dtype) for n in sizes]
    grads = [rng.standard_normal(n).astype(dtype) for n in sizes]

    def train(chosen: range) -> list[np.ndarray]:
        params = [Parameter(starts[i].copy()) for i in chosen]
        optimizer = cls(params, **options)
        for _ in range(2):
            for i, param in zip(chosen, params):
                param.grad = grads[i].copy()
            optimizer.step()
        return [param.data for param in params]

    together = same_bytes_for_every_thread_count(lambda: train(range(len(sizes))))
    for i, value in enumerate(together):
        assert train(range(i, i + 1))[0].tobytes() == value.tobytes()


@pytest.mark.parametrize(("cls", "options"), ALL)
def test_layouts_and_mixed_dtypes(cls: type[Optimizer], options: dict) -> None:
    """Parameters of any layout are changed in place; gradients of any layout are read."""
    rng = np.random.default_rng(0)
    start, grad = rng.standard_normal((2, 4, 5))
    plain = Parameter(start.copy())
    plain.grad = grad
    cls([plain], **options).step()
    for layout, view in strided_variants(start).items():
        grad_view = strided_variants(grad)[layout]
        param, other = Parameter(view), Parameter(start.astype(np.float32))
        param.grad, other.grad = grad_view, grad.astype(np.float32)
        held = param.data
        cls([other, param], **options).step()
        assert param.data is held
        assert np.array_equal(param.data, plain.data), layout
        np.testing.assert_allclose(other.data, plain.data, rtol=1e-4, atol=1e-6)


def test_nan_gradients_reach_the_parameters(isa: str) -> None:
    for cls, options in ALL:
        param = Parameter(np.ones(37))
        param.grad = np.ones(37)
        param.grad[[0, 20, 36]] = np.nan
        cls([param], **options).step()
        assert np.array_equal(np.isnan(param.data), np.isnan(param.grad)), cls


def test_read_only_parameters_are_refused() -> None:
    data = np.ones(3)
    param = Parameter(data)
    data.flags.writeable = False
    param.grad = np.ones(3)
    with pytest.raises(ValueError, match=r"sgd_step: params\[0\] must be writable"):
        SGD([param]).step()
    for cls in (Adam, RMSprop, Adagrad):
        optimizer = cls([param])
        with pytest.raises(ValueError, match="must be writable"):
            optimizer.step()
        assert optimizer.state[param].get("step", 0) == 0


def test_kernels_check_their_lists() -> None:
    x, y = np.ones(3), np.ones(4)
    options = (0.1, 0.9, 0.0, 0.0, False, False)
    with pytest.raises(TypeError, match="sgd_step: grads must be a list"):
        _core.sgd_step([x], x, None, [False], *options)
    with pytest.raises(ValueError, match=r"sgd_step: grads must have 1 items \(params\), got 2"):
        _core.sgd_step([x], [x, y], None, [False], *options)
    with pytest.raises(ValueError, match=r"sgd_step: grads.shape must be \(3,\)"):
        _core.sgd_step([x], [y], None, [False], *options)
    with pytest.raises(TypeError, match=r"sgd_step: params\[0\] must be a numpy.ndarray of the"):
        _core.sgd_step([x.astype(np.float32)], [x], None, [False], *options)
    with pytest.raises(ValueError, match=r"momentum_buffers.shape must be \(3,\)"):
        _core.sgd_step([x], [x], [y], [False], *options)
    with pytest.raises(ValueError, match=r"params\[0\] must be C-contiguous"):
        _core.sgd_step([np.ones(6)[::2]], [x], None, [False], *options)
    _core.sgd_step([], [], None, [], *options)


def test_sum_of_squares_and_scale_arrays(isa: str, dtype: np.dtype) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(n).astype(dtype) for n in (5, 0, 50_001, 16, 17, 20_000)]
    total = same_bytes_for_every_thread_count(lambda: _core.sum_of_squares(arrays))
    assert total == pytest.approx(reference.sum_of_squares(arrays), rel=1e-13)
    large = [np.full(100, np.finfo(np.float32).max)]
    assert _core.sum_of_squares(large) == pytest.approx(100 * float(large[0][0]) ** 2)
    scaled = [a.copy() for a in arrays]
    _core.scale_arrays(scaled, 0.3)
    for array, want in zip(scaled, reference.scale_arrays(arrays, dtype.type(0.3))):
        assert np.array_equal(array, want)


P = Parameter(np.ones(1))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD([P], lr=-1), ValueError, "sgd: lr must be >= 0, got -1"),
        (lambda: SGD([P], lr=math.nan), ValueError, "sgd: lr must be >= 0, got nan"),
        (lambda: SGD([P], momentum=-1), ValueError, "sgd: momentum must be >= 0, got -1"),
        (lambda: SGD([P], weight_decay=-1), ValueError, "sgd: weight_decay must be >= 0"),
        (lambda: SGD([P], nesterov=True), ValueError, "sgd: momentum must be > 0 with nest"),
        (
            lambda: SGD([P], momentum=1, dampening=1, nesterov=True),
            ValueError,
            "sgd: dampening must be 0 with nesterov, got 1",
        ),
        (lambda: Adam([P], eps=-1), ValueError, "adam: eps must be >= 0, got -1"),
        (lambda: AdamW([P], betas=(0.9, 1)), ValueError, r"adamw: betas must be two .* got \(0"),
        (lambda: RMSprop([P], alpha=-1), ValueError, "rmsprop: alpha must be >= 0, got -1"),
        (lambda: Adagrad([P], lr_decay=-1), ValueError, "adagrad: lr_decay must be >= 0, got -1"),
        (lambda: Lion([P], betas=(1, 0)), ValueError, r"lion: betas must be two .* got \(1"),
        (lambda: SGD([]), ValueError, "sgd: params must not be empty"),
        (lambda: SGD(P), TypeError, "sgd: params must be an iterable of Tensors or dicts, got Par"),
        (lambda: SGD([np.ones(1)]), TypeError, "sgd: params must be Tensors, got ndarray"),
        (lambda: SGD([Tensor([1])]), TypeError, "sgd: params must be float, got int64"),
        (lambda: SGD([P * 2]), ValueError, "sgd: params must be leaf tensors"),
        (lambda: SGD([P, P]), ValueError, "sgd: params must be distinct"),
        (lambda: SGD([{"lr": 1}]), TypeError, "sgd: a parameter group must be a dict with 'para"),
        (lambda: SGD([{"params": [P], "lr": -2}]), ValueError, "sgd: lr must be >= 0, got -2"),
    ],
)
def test_errors(make: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5, math.inf])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e6])
def test_clip_grad_norm(
    norm_type: float, max_norm: float, dtype: np.dtype, rng: np.random.Generator
) -> None:
    grads = [np.asarray(rng.standard_normal(s)).astype(dtype) for s in [(3, 4), (5,), (), (0,)]]
    params = [Parameter(np.zeros(g.shape, dtype)) for g in grads]
    for param, grad in zip(params, grads):
        param.grad = grad.copy()
    wanted, total = reference.clip_grad_norm_(grads, max_norm, norm_type)
    arrays = [p.grad for p in params]
    norm = clip_grad_norm_([*params, Parameter(np.ones(1))], max_norm, norm_type)
    assert norm == pytest.approx(total, rel=1e-12)
    for param, held, want in zip(params, arrays, wanted):
        assert param.grad is held
        np.testing.assert_allclose(param.grad, want, rtol=4 * np.finfo(dtype).eps)


def test_clipping_special_cases() -> None:
    p = Parameter(np.zeros(2))
    assert clip_grad_norm_([p], 1.0) == 0
    p.grad = np.array([np.nan, 1.0])
    with pytest.raises(RuntimeError, match="the norm of the gradients is nan"):
        clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    clip_grad_norm_(p, 1.0)
    assert np.isnan(p.grad).all()
    p.grad = np.array([-3.0, 0.5])
    clip_grad_value_(p, 1.0)
    np.testing.assert_array_equal(p.grad, [-1, 0.5])
    with pytest.raises(ValueError, match="clip_grad_norm_: max_norm must be >= 0, got -1"):
        clip_grad_norm_(p, -1)
    with pytest.raises(ValueError, match="clip_grad_norm_: norm_type must be > 0, got 0"):
        clip_grad_norm_(p, 1, 0)
    with pytest.raises(ValueError, match="clip_grad_value_: clip_value must be >= 0, got -1"):
        clip_grad_value_(p, -1)
    with pytest.raises(TypeError, match="clip_grad_value_: parameters must be Tensors, got int"):
        clip_grad_value_([1], 1)


def test_state_without_the_newer_options_is_loaded() -> None:
    """As PyTorch wrote it before it had them; and Adam's state makes no Adam of AdamW."""
    param = Parameter(np.ones(2))
    state = Adam([param]).state_dict()
    optimizer = AdamW([param])
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["decoupled_weight_decay"] is True
    del state["param_groups"][0]["decoupled_weight_decay"]
    optimizer = Adam([param])
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["decoupled_weight_decay"] is False
