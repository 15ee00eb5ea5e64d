"""What `import fastnn` costs, changes and refuses; each case in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn
from fastnn import _core


def python(*arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FASTNN_", "OMP_"))}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parent,  # where no other fastnn than the installed one is found
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def test_import_costs_at_most_30_ms_more_than_numpy():
    # The importing thread's time: NumPy's own threads, which still spin after its import, would
    # count in the process's.
    program = (
        "import numpy, time; start = time.thread_time(); import fastnn; "
        "print(time.thread_time() - start)"
    )
    cached = {"PYTHONDONTWRITEBYTECODE": ""}
    python("-c", program, **cached)  # compiles to byte code and fills the file cache
    # Other work on the machine only ever adds time.
    assert min(float(python("-c", program, **cached).stdout) for _ in range(9)) <= 0.030


def test_import_leaves_the_rest_for_when_it_is_used():
    heavy = ["safetensors", "tqdm", "sklearn", "matplotlib", "scipy", "torch", "hypothesis"]
    program = f"import sys, fastnn; print([m for m in {heavy} if m in sys.modules])"
    assert python("-c", program).stdout == "[]\n"


def test_import_leaves_rounding_and_flush_modes_alone():
    program = (
        "import numpy as np\n"
        "tiny, ones = np.full(64, 1e-40, np.float32), np.ones(64, np.float32)\n"
        "third = ones / np.float32(3)\n"
        "import fastnn\n"
        "fastnn.functional.relu(np.ones((64, 64), np.float32))\n"
        "print((tiny * ones == tiny).all() and (ones / np.float32(3) == third).all())"
    )
    assert python("-c", program).stdout == "True\n"


@pytest.mark.parametrize("name", _core.available_isas())
def test_an_instruction_set_can_be_forced(name):
    program = "import fastnn._core as c; print(c.active_isa())"
    assert python("-c", program, FASTNN_ISA=name).stdout == f"{name}\n"


def test_the_best_instruction_set_is_the_default():
    program = "import fastnn._core as c; print(c.active_isa())"
    assert python("-c", program).stdout == f"{_core.available_isas()[-1]}\n"
    assert python("-c", program, FASTNN_ISA="").stdout == f"{_core.available_isas()[-1]}\n"


@pytest.mark.parametrize("name", ["sse9", "AVX2", " avx2", "neon,generic", "0"])
def test_an_unknown_instruction_set_is_an_import_error(name):
    failed = python("-c", "import fastnn", check=False, FASTNN_ISA=name)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == (
        f"ImportError: FASTNN_ISA must be one of {', '.join(_core.available_isas())} "
        f"on this machine, got '{name}'"
    )


def test_an_instruction_set_that_this_machine_lacks_is_an_import_error():
    lacking = {"generic", "avx2", "avx512", "neon"} - set(_core.available_isas())
    assert lacking, "no machine has them all"
    for name in lacking:
        failed = python("-c", "import fastnn", check=False, FASTNN_ISA=name)
        assert failed.returncode == 1
        assert "ImportError: FASTNN_ISA must be one of" in failed.stderr


def test_use_isa_rejects_what_is_not_there():
    with pytest.raises(RuntimeError, match=r"must be one of generic.* got 'sse9'"):
        _core.use_isa("sse9")


@pytest.mark.parametrize("value", ["0", "-1", "two", "2.5", "2x", "99999999999999999999"])
def test_a_bad_number_of_threads_is_an_import_error(value):
    failed = python("-c", "import fastnn", check=False, FASTNN_NUM_THREADS=value)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == (
        f"ImportError: FASTNN_NUM_THREADS must be an integer in 1..4096, got '{value}'"
    )


def test_python_m_fastnn_prints_the_configuration():
    printed = python("-m", "fastnn", FASTNN_ISA="generic", FASTNN_NUM_THREADS="1").stdout
    lines = dict(line.split(": ", 1) for line in printed.splitlines())
    assert lines["isa"] == "generic"
    assert lines["threads"] == "1"
    assert {"fastnn", "available isas", "compiler", "caches", "cuda"} <= lines.keys()
    assert python("-c", "import fastnn; fastnn.show_config()").stdout.count("\n") == len(lines)


def test_every_public_name_is_there():
    program = "import fastnn; print([n for n in fastnn.__all__ if not hasattr(fastnn, n)])"
    assert python("-c", program).stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cat", "; use fastnn.concatenate"),
        ("softmax", "; use fastnn.functional.softmax"),
        ("Linear", "; use fastnn.nn.Linear"),
        ("arange", "; use numpy.arange"),
        ("nonsense", ""),
    ],
)
def test_names_of_pytorch_are_pointed_out(name, hint):
    with pytest.raises(AttributeError, match=rf"'fastnn' has no attribute '{name}'{hint}$"):
        getattr(fastnn, name)
