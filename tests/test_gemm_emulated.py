"""Matrix products on an instruction set that this machine lacks: NEON, under qemu.

The checks are a C++ program, `tests/simd/matmul_bits.cpp`, that compares every bit with a chain of
scalar fused multiply-adds.
"""

from __future__ import annotations

import subprocess

import pytest
from test_simd import COMMON_FLAGS, CROSS_COMPILER, EMULATED_ISA, EMULATOR, ROOT, missing, run

SOURCES = [
    "tests/simd/matmul_bits.cpp",
    *(f"csrc/kernels/gemm/{stem}.cpp" for stem in ("tile", "pack", "grid", "matmul")),
    "csrc/kernels/elementwise/activate.cpp",
    *(f"csrc/runtime/{stem}.cpp" for stem in ("parallel", "thread_pool", "workspace", "cache")),
]


def test_products_have_the_bits_of_a_chain_of_multiply_adds(tmp_path):
    if reason := missing(EMULATED_ISA):
        pytest.skip(reason)
    binary = tmp_path / "matmul_bits"
    isa = EMULATED_ISA
    command = [
        *(CROSS_COMPILER, *COMMON_FLAGS, "-fopenmp", "-static", f"-I{ROOT / 'csrc'}"),
        *(f"-DFASTNN_ISA={isa}", f"-DFASTNN_ISA_{isa.upper()}=1"),
        *(*(str(ROOT / source) for source in SOURCES), "-o", str(binary)),
    ]
    subprocess.run(command, check=True)
    assert run([EMULATOR, str(binary)]) == []
