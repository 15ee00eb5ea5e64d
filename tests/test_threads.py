"""The number of threads: how it is set, what it may not change, forks, many Python threads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers import same_bytes, same_bytes_for_every_thread_count

import fastnn
import fastnn.functional as F

linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")


def python(program: str, **environment: str) -> str:
    """Run a program in a process of its own, which must not hang, and return what it prints."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FASTNN_NUM", "OMP_"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=Path(__file__).parent,  # where no other fastnn than the installed one is found
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def work(seed: int = 0) -> list[np.ndarray]:
    """Call several families, each on enough data for more than one thread."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(256, 384)).astype(np.float32)
    weight = rng.normal(size=(320, 384)).astype(np.float32)
    images = rng.normal(size=(4, 8, 33, 35)).astype(np.float32)
    filters = rng.normal(size=(16, 8, 3, 3)).astype(np.float32)
    return [
        F.linear(x, weight),
        F.conv2d(images, filters, padding=1),
        F.softmax(x, dim=1),
        F.relu(x),
    ]


def test_the_number_of_threads_changes_no_byte(isa):
    same_bytes_for_every_thread_count(work)


# The threads themselves

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
@pytest.mark.parametrize(
    ("threads", "flags"),
    [
        ("thread_pool", ["-O2"]),
        ("thread_pool", ["-O1", "-g", "-fsanitize=thread"]),
        ("thread_pool_openmp", ["-O2", "-fopenmp"]),
    ],
    ids=["own", "own, ThreadSanitizer", "OpenMP"],
)
def test_regions_and_teams(threads, flags, tmp_path):
    sources = [ROOT / "csrc" / "runtime" / f"{name}.cpp" for name in ("parallel", threads)]
    program = tmp_path / "regions"
    options = [*flags, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-pthread"]
    main = ROOT / "tests" / "threads" / "regions.cpp"
    subprocess.run(
        ["g++", *options, f"-I{ROOT / 'csrc'}", main, *sources, "-o", program], check=True
    )
    done = subprocess.run([program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0 failures\n"


# Setting the number


def test_set_and_get():
    for count in (1, 5, 2):
        fastnn.set_num_threads(count)
        assert fastnn.get_num_threads() == count


@pytest.mark.parametrize("count", [0, -1, 4097, 2**70])
def test_set_num_threads_rejects_values(count):
    with pytest.raises(ValueError, match=rf"count must be in 1\.\.4096, got {count}"):
        fastnn.set_num_threads(count)


@pytest.mark.parametrize(
    ("count", "kind"), [(2.0, "float"), ("2", "str"), (None, "NoneType"), (True, "bool")]
)
def test_set_num_threads_rejects_types(count, kind):
    with pytest.raises(TypeError, match=f"count must be an int, got {kind}"):
        fastnn.set_num_threads(count)


GET = "import fastnn; print(fastnn.get_num_threads())"


@linux
def test_environment_variables_cap_the_number():
    default = int(python(GET))
    assert 1 <= default <= len(os.sched_getaffinity(0))
    for name in ("FASTNN_NUM_THREADS", "OMP_NUM_THREADS"):
        assert int(python(GET, **{name: "1"})) == 1
        assert int(python(GET, **{name: "4096"})) == default
    assert int(python(GET, FASTNN_NUM_THREADS="1", OMP_NUM_THREADS="2")) == 1


@linux
def test_affinity_caps_the_number():
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); " + GET
    assert python(program) == "1\n"


# Forks

FORK = """
import hashlib, os, sys, threading
import numpy as np
import fastnn
import fastnn.functional as F

x = np.random.default_rng(0).normal(size=(256, 384)).astype(np.float32)
weight = np.random.default_rng(1).normal(size=(320, 384)).astype(np.float32)

def digest():
    return hashlib.sha256(F.linear(x, weight).tobytes()).hexdigest()

def in_child(function):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(function()).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return answer
"""


def test_the_child_of_a_fork_runs_on_one_thread_until_told_otherwise():
    program = """
fastnn.set_num_threads(4)
expected = digest()

def child():
    counts = [fastnn.get_num_threads()]
    digests = [digest()]
    for n in (3, 2):
        fastnn.set_num_threads(n)
        counts.append(fastnn.get_num_threads())
        digests.append(digest())
    return counts, digests == [expected] * 3

print(in_child(child), fastnn.get_num_threads(), digest() == expected)
"""
    assert python(FORK + program) == "([1, 3, 2], True) 4 True\n"


def test_a_fork_before_the_first_call():
    program = "print(in_child(digest) == digest())"
    assert python(FORK + program) == "True\n"


def test_a_grandchild():
    program = """
fastnn.set_num_threads(2)
expected = digest()

def child():
    fastnn.set_num_threads(2)
    digest()
    return in_child(digest)

print(in_child(child) == expected)
"""
    assert python(FORK + program) == "True\n"


def test_a_fork_while_another_thread_computes():
    program = """
fastnn.set_num_threads(2)
expected = digest()
stop = threading.Event()

def busy():
    while not stop.is_set():
        digest()

thread = threading.Thread(target=busy)
thread.start()
answers = {in_child(digest) for _ in range(20)}
stop.set()
thread.join()
print(answers == {expected})
"""
    assert python(FORK + program) == "True\n"


def test_multiprocessing_pool():
    program = """
import multiprocessing
fastnn.set_num_threads(2)
expected = digest()

def task(_):
    return digest()

with multiprocessing.get_context("fork").Pool(3) as pool:
    print(set(pool.map(task, range(12))) == {expected})
"""
    assert python(FORK + program) == "True\n"


# Many Python threads


def test_many_python_threads_at_once():
    expected = [work(seed) for seed in range(4)]
    fastnn.set_num_threads(2)
    with ThreadPoolExecutor(8) as pool:
        for seed, output in enumerate(pool.map(work, [0, 1, 2, 3] * 8)):
            assert same_bytes(output, expected[seed % 4])


def test_the_number_may_change_while_others_compute():
    expected = work()
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(work) for _ in range(16)]
        for count in range(1, 200):
            fastnn.set_num_threads(count % 5 + 1)
        assert all(same_bytes(future.result(), expected) for future in running)


def test_threads_that_come_and_go():
    expected = work()
    fastnn.set_num_threads(2)
    for _ in range(10):
        with ThreadPoolExecutor(1) as pool:
            assert same_bytes(pool.submit(work).result(), expected)
