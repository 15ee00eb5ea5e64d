"""Memory of convolutions: resident memory stays flat over many shapes, scratch within its bound."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import resource, sys
import numpy as np
import fastnn
import fastnn.functional as F

def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * resource.getpagesize() / 2**20

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
"""

MANY_SHAPES = (
    MEASURE
    + """
rng = np.random.default_rng(0)
count = int(sys.argv[1])
layer = fastnn.nn.Conv2d(16, 16, 3, padding=1)
after = []
for i in range(count):
    groups = int(rng.choice([1, 1, 2]))
    c, k = (groups * int(rng.integers(1, 24)) for _ in range(2))
    h, w = (int(n) for n in rng.integers(5, 30, 2))
    kernel = tuple(int(n) for n in rng.integers(1, 6, 2))
    x = rng.standard_normal((1, c, h, w), dtype=np.float32)
    weight = rng.standard_normal((k, c // groups, *kernel), dtype=np.float32)
    stride = int(rng.integers(1, 4))
    if i % 10 == 0:
        tensors = [fastnn.Tensor(a, requires_grad=True) for a in (x, weight)]
        y = F.conv2d(*tensors, None, stride, 2, 1, groups)
        y.backward(np.ones_like(y.data))
    else:
        F.conv2d(x, weight, None, stride, 2, 1, groups)
    with fastnn.no_grad():
        layer(rng.standard_normal((1, 16, h, w), dtype=np.float32))
    if i in (count // 2, count - 1):
        after.append(resident())
print(after[1] - after[0])
"""
)

SCRATCH = (
    MEASURE
    + """
import os
from fastnn import _core

def scratch(which, x_shape, w_shape, stride):
    # In a process of its own: what earlier calls left is not counted as this one's.
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    x, w = np.ones(x_shape, np.float32), np.ones(w_shape, np.float32)
    size = [(n + 2 - k) // stride + 1 for n, k in zip(x_shape[2:], w_shape[2:])]
    y = np.ones((x_shape[0], w_shape[0], *size), np.float32)
    settings = stride, 1, 1, x_shape[1] // w_shape[1]
    before, result = peak(), 0
    if which == "forward":
        F.conv2d(x, w, None, *settings, out=y)
    elif which == "input":
        result = _core.conv3d_backward_input(2, y, w, x_shape, *settings).nbytes
    else:
        result = _core.conv3d_backward_weight(2, y, x, w_shape, *settings, "zeros").nbytes
    os._exit(max(0, round(peak() - before - result / 2**20)))

fastnn.set_num_threads(1)
shapes = [
    ((1, 512, 96, 96), (512, 512, 3, 3), 1),
    ((1, 1200, 20, 20), (600, 1200, 3, 3), 1),
    ((1, 512, 64, 64), (512, 512, 4, 4), 2),
    ((1, 512, 56, 56), (512, 512, 3, 3), 2),
    ((1, 64, 300, 300), (64, 64, 7, 7), 2),
    ((1, 2048, 30, 30), (2048, 2048, 1, 1), 1),
    ((1, 3, 2000, 500), (16, 3, 5, 5), 2),
    ((1, 256, 3, 9000), (64, 256, 3, 3), 1),
    ((1, 32, 900, 900), (1, 32, 3, 3), 1),
    ((4, 96, 200, 200), (96, 1, 3, 3), 2),
]
print(max(scratch(w, *shape) for shape in shapes for w in ("forward", "input", "weight")))
"""
)


def run(code: str, *arguments: str) -> float:
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=Path(__file__).parent,  # where no other fastnn than the installed one is found
        capture_output=True,
        text=True,
        check=True,
    )
    return float(result.stdout)


linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")


@linux
def test_many_shapes_leave_memory_flat():
    assert run(MANY_SHAPES, "2000") < 4  # MiB


@linux
@pytest.mark.slow
def test_ten_thousand_shapes_leave_memory_flat():
    assert run(MANY_SHAPES, "10000") < 4


@linux
def test_scratch_is_bounded():
    assert run(SCRATCH) < 66
