"""Every kernel listed in csrc/ops has its function, reference, test and benchmark."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from fastnn import _core

ROOT = Path(__file__).parents[1]

# Kernels that measure the machine for the benchmarks and compute nothing for users.
MEASURES = {"fma_peak", "bfloat16_peak", "int8_peak", "stream_copy", "stream_read"}

# Kernels behind a public name other than their own in fastnn.functional: (module, name). Tests and
# benchmarks mention that name; the reference has it in lower case.
ELSEWHERE = {
    "matmul_forward": ("fastnn.functional", "linear"),
    "pack_matrix": ("fastnn.functional", "linear"),
    "conv3d_prepare": ("fastnn.functional", "conv3d"),
    "pack_recurrent": ("fastnn.functional", "rnn"),
    "pack_quantized_linear": ("fastnn.functional", "quantized_linear"),
    "matmul_bfloat16": ("fastnn.functional", "linear"),
    "pack_bfloat16": ("fastnn.functional", "linear"),
    "axis_sum": ("fastnn._reduce", "sum"),
    "gelu_tanh_forward": ("fastnn.functional", "gelu"),
    "gelu_tanh_backward": ("fastnn.functional", "gelu"),
    "philox_words": ("fastnn.functional", "dropout"),
    "attention_weights": ("fastnn.functional", "scaled_dot_product_attention"),
    "resample_forward": ("fastnn.functional", "interpolate"),
    "sgd_step": ("fastnn.optim", "SGD"),
    "adam_step": ("fastnn.optim", "Adam"),
    "adamax_step": ("fastnn.optim", "Adamax"),
    "nadam_step": ("fastnn.optim", "NAdam"),
    "radam_step": ("fastnn.optim", "RAdam"),
    "adadelta_step": ("fastnn.optim", "Adadelta"),
    "rmsprop_step": ("fastnn.optim", "RMSprop"),
    "adagrad_step": ("fastnn.optim", "Adagrad"),
    "lion_step": ("fastnn.optim", "Lion"),
    "sum_of_squares": ("fastnn.optim", "clip_grad_norm_"),
    "scale_arrays": ("fastnn.optim", "clip_grad_norm_"),
}

# Kernels whose binding has another name.
BOUND_AS = {
    "pack_matrix": "pack_linear",
    "conv3d_prepare": "ConvPacks",
    "matmul_bfloat16": "matmul_forward",
    "pack_bfloat16": "pack_linear",
}

LISTED = [tuple(pair) for pair in _core.kernel_names()]
KERNELS = sorted((family, kernel) for family, kernel in LISTED if kernel not in MEASURES)


def operation(kernel: str) -> str:
    """Return what a kernel is part of: conv2d for conv2d_forward and conv2d_backward_weight."""
    return re.sub(r"_(forward|backward(_[a-z0-9_]+)?)$", "", kernel)


def public_name(kernel: str) -> tuple[str, str]:
    return ELSEWHERE.get(kernel, ("fastnn.functional", operation(kernel)))


def mentions(path: Path, name: str) -> bool:
    pattern = rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])"
    return path.is_file() and re.search(pattern, path.read_text()) is not None


def kernels(test):
    return pytest.mark.parametrize(
        ("family", "kernel"), KERNELS, ids=[f"{family}-{kernel}" for family, kernel in KERNELS]
    )(test)


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("conv2d_forward", "conv2d"),
        ("conv2d_backward", "conv2d"),
        ("conv2d_backward_weight", "conv2d"),
        ("matmul", "matmul"),
    ],
)
def test_operation(kernel, expected):
    assert operation(kernel) == expected


def test_names_are_listed_once():
    names = [kernel for _, kernel in LISTED]
    assert len(names) == len(set(names))
    exceptions = {*MEASURES, *ELSEWHERE, *BOUND_AS}
    assert exceptions <= set(names), "an exception names no listed kernel"


@kernels
def test_binding(family, kernel):
    name = BOUND_AS.get(kernel, kernel)
    assert hasattr(_core, name), f"csrc/bindings/{family}.cpp does not bind {name}"


@kernels
def test_public_function(family, kernel):
    module, name = public_name(kernel)
    assert hasattr(importlib.import_module(module), name), f"{module} lacks {name}"


@kernels
def test_reference(family, kernel):
    path = ROOT / "tests" / "reference" / f"{family}.py"
    assert path.is_file(), f"{path.relative_to(ROOT)} is missing"
    defined = {
        node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)
    }
    wanted = public_name(kernel)[1].lower()
    assert wanted in defined, f"{path.relative_to(ROOT)} defines no function {wanted}"


@kernels
def test_test(family, kernel):
    paths = sorted((ROOT / "tests").glob(f"test_{family}*.py"))
    assert any(mentions(path, public_name(kernel)[1]) for path in paths), "no test mentions it"


@kernels
def test_benchmark(family, kernel):
    paths = sorted((ROOT / "bench").glob(f"bench_{family}*.py"))
    assert any(mentions(path, public_name(kernel)[1]) for path in paths), "no benchmark times it"


@pytest.mark.parametrize("family", sorted({family for family, _ in KERNELS}))
def test_stem(family):
    wanted = [f"csrc/ops/{family}.h", f"csrc/kernels/{family}", f"csrc/bindings/{family}.cpp"]
    assert [path for path in wanted if not (ROOT / path).exists()] == []
