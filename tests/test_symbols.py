"""No instruction beyond the baseline outside the code of its own instruction set.

The linker keeps one copy of every weak (inline, template) function. If an AVX-512 object defined
one that other objects share, its copy could run on a machine without AVX-512. These tests read the
build tree: `build/`, or what FASTNN_BUILD_DIR names (and then it has to be there).
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ISAS = ["generic", "avx2", "avx512", "neon"]
# A pointer to the exception personality routine: data, the same in every object.
HARMLESS = {"DW.ref.__gxx_personality_v0"}


def build_dir() -> Path:
    """Return the directory of the latest build."""
    given = os.environ.get("FASTNN_BUILD_DIR")
    root = Path(given) if given else ROOT / "build"
    archives = sorted(
        root.glob("**/libfastnn_kernels_generic.a"), key=lambda path: path.stat().st_mtime
    )
    if not archives:
        if given:
            pytest.fail(f"FASTNN_BUILD_DIR={given} holds no build")
        pytest.skip("no build tree: set FASTNN_BUILD_DIR")
    return archives[-1].parent


def tool(name: str) -> str:
    if not shutil.which(name):
        pytest.skip(f"{name} (binutils) is not installed")
    return name


def lines_of(*command: str) -> Iterator[str]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield from process.stdout
    assert process.returncode == 0, command


def belongs(name: str, isa: str) -> bool:
    """Tell whether a symbol names something of `isa`; binutils leaves some names mangled."""
    if name.startswith("_Z"):
        return re.search(rf"(6fastnn|S[0-9A-Z]*_){len(isa)}{isa}", name) is not None
    return f"fastnn::{isa}::" in name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("void fastnn::avx2::relu_forward<float>(fastnn::UnaryForwardArgs<float> const&)", True),
        ("_ZN6fastnn4avx212relu_forwardIfEEvv", True),
        ("_ZZN6fastnn12parallel_forIZNS_4avx24workIdEEvvEUlvE_EEvvENUlvE_4_FUNEv", True),
        ("_ZN6fastnn6avx51212relu_forwardIfEEvv", False),
        ("long fastnn::ceil_div(long, long)", False),
        ("_ZN6fastnn8ceil_divEll", False),
    ],
)
def test_belongs(name, expected):
    assert belongs(name, "avx2") is expected


@pytest.mark.parametrize("isa", ISAS)
def test_weak_symbols_stay_in_their_namespace(isa):
    archive = build_dir() / f"libfastnn_kernels_{isa}.a"
    if not archive.exists():
        pytest.skip(f"this build has no {isa}")
    weak, total = [], 0
    for line in lines_of(tool("nm"), "-C", "--defined-only", str(archive)):
        match = re.match(r"[0-9a-f]+ (\w) (.*)", line)
        if match:
            total += 1
            kind, name = match.groups()
            if kind in "WwVvu" and not belongs(name, isa) and name not in HARMLESS:
                weak.append(name)
    assert total > 0
    assert sorted(set(weak)) == []


FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
# On x86 the instructions that begin with v are AVX and later, but for these two.
INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\s+(?:(?:lock|rep|repz|repnz|bnd|notrack)\s+)*(\S+)(.*)")
BASELINE_V = {"verr", "verw"}


def beyond_baseline(mnemonic: str, operands: str) -> str | None:
    """Return the instruction set that an x86 instruction needs, or None for the baseline."""
    if "%zmm" in operands or "%k" in operands:
        return "avx512"
    if "%ymm" in operands or (mnemonic.startswith("v") and mnemonic not in BASELINE_V):
        return "avx2"
    return None


@pytest.mark.parametrize(
    ("mnemonic", "operands", "expected"),
    [
        ("addps", "%xmm0,%xmm1", None),
        ("vaddps", "%xmm0,%xmm1,%xmm2", "avx2"),
        ("vaddps", "%ymm0,%ymm1,%ymm2", "avx2"),
        ("vaddps", "%zmm0,%zmm1,%zmm2{%k1}", "avx512"),
        ("kmovw", "%eax,%k1", "avx512"),
        ("verr", "%ax", None),
    ],
)
def test_beyond_baseline(mnemonic, operands, expected):
    assert beyond_baseline(mnemonic, operands) == expected


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86-64 only")
def test_instructions_stay_in_their_namespace():
    directory = build_dir()
    (library,) = directory.glob("_core*.so")
    allowed: set[str | None] = set()
    function, leaks, seen = "", set(), 0
    for line in lines_of(tool("objdump"), "-d", "-C", "--no-show-raw-insn", str(library)):
        if match := FUNCTION.match(line):
            function = match.group(1)
            allowed = {None}
            if belongs(function, "avx512"):
                allowed |= {"avx2", "avx512"}
            elif belongs(function, "avx2"):
                allowed.add("avx2")
        elif match := INSTRUCTION.match(line):
            needed = beyond_baseline(*match.groups())
            seen += needed is not None
            if needed not in allowed:
                leaks.add((function, needed))
    assert seen > 0, "the library is stripped or holds no kernels"
    assert leaks == set()
