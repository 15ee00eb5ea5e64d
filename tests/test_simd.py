"""The vector layer `csrc/simd`: accuracy of its functions, tails, NaN rules, on every ISA.

The checks are a C++ program, `tests/simd/math_accuracy.cpp`, compiled here once an ISA with the
flags that CMakeLists.txt gives its kernels. NEON runs under qemu where a cross-compiler is found.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fastnn import _core

ROOT = Path(__file__).parents[1]
FLAGS = {
    "generic": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": [
        *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512cd"),
        *("-mavx2", "-mfma", "-mprefer-vector-width=512"),
    ],
    "neon": [],
}
COMMON_FLAGS = [
    *("-O3", "-std=c++17", "-ffp-contract=off", "-fno-math-errno"),
    *("-Wall", "-Wextra", "-Wconversion", "-Werror"),
]
EMULATED_ISA = "neon"
EMULATOR = "qemu-aarch64-static"
CROSS_COMPILER = "aarch64-linux-gnu-g++"
# Stride through the 2^32 floats, and doubles a range: seconds of work.
SAMPLED = {"native": ("997", "20000"), "emulated": ("99991", "1000")}


def is_native(isa: str) -> bool:
    return isa in _core.available_isas()


def missing(isa: str) -> str | None:
    """Return why the program of this ISA cannot be built or run here, if so."""
    if is_native(isa):
        needed = ["g++"]
    elif isa == EMULATED_ISA:
        needed = [CROSS_COMPILER, EMULATOR]
    else:
        return f"this machine or build has no {isa}"
    lacking = [tool for tool in needed if not shutil.which(tool)]
    return f"not installed: {', '.join(lacking)}" if lacking else None


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """Give a function that builds the program of an ISA, once, and returns how to run it."""
    directory = tmp_path_factory.mktemp("simd")

    def build(isa: str) -> list[str]:
        native = is_native(isa)
        binary = directory / f"math_accuracy_{isa}"
        if not binary.exists():
            link = ["-lquadmath"] if platform.machine() in ("x86_64", "AMD64") else []
            command = [
                *("g++" if native else CROSS_COMPILER, *COMMON_FLAGS, *FLAGS[isa]),
                *(f"-DFASTNN_ISA={isa}", f"-DFASTNN_ISA_{isa.upper()}=1", f"-I{ROOT / 'csrc'}"),
                *(str(ROOT / "tests" / "simd" / "math_accuracy.cpp"), "-o", str(binary)),
                *(link if native else ["-static"]),
            ]
            subprocess.run(command, check=True)
        return [str(binary)] if native else [EMULATOR, str(binary)]

    return build


def run(command: list[str], *arguments: str) -> list[str]:
    """Run the program, which must succeed; return the lines it printed."""
    result = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.splitlines()


@pytest.mark.parametrize("isa", FLAGS)
def test_errors_within_their_bounds_sampled(program, isa):
    if reason := missing(isa):
        pytest.skip(reason)
    stride, samples = SAMPLED["native" if is_native(isa) else "emulated"]
    report = run(program(isa), "--stride", stride, "--samples", samples)
    assert len(report) == 1 + 8 * 2  # Vec, then eight functions in two types


@pytest.mark.slow
@pytest.mark.parametrize("isa", FLAGS)
def test_errors_within_their_bounds_for_every_float(program, isa):
    if reason := missing(isa):
        pytest.skip(reason)
    if not is_native(isa):
        pytest.skip("too slow under emulation, and the same bits as AVX2")
    run(program(isa), "--stride", "1", "--samples", "1000000")


def test_isas_with_fused_multiply_add_compute_the_same_bits(program):
    """What the exhaustive test proves for one of them then holds for the others."""
    isas = [isa for isa in FLAGS if isa != "generic" and not missing(isa)]
    hashes = {isa: run(program(isa), "--stride", "9973", "--hash")[1:] for isa in isas}
    assert all(lines == hashes[isas[0]] for lines in hashes.values()), hashes
