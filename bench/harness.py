"""Timing fastnn against other libraries: one process a library, samples interleaved.

A family's file (``bench_<family>.py``) lists ``CASES`` and defines, for each library that it knows,
a function ``<library>(case)`` that prepares everything outside the timing (its best layout,
prepared weights) and returns the call to time. The call returns one array or a tuple, or a function
that makes them from the library's own layout: that function runs for the comparison only.
This module starts a worker process a library, checks every result against fastnn's, and lets the
libraries take turns, so that a change of the machine's speed meets all of them alike.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import select
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
LIBRARIES = ("fastnn", "numpy", "torch", "onnxruntime", "openvino", "ncnn", "tflite")
PEERS = LIBRARIES[2:]
# Seconds until a worker that does not answer is given up; TensorFlow alone takes some to import.
PATIENCE = 120
# A case whose calls are long gets fewer samples, to stay within so many seconds.
LONGEST = 60.0
FEW_SAMPLES = 3
# What a library may take beyond its threads, in cores: the calling thread does the rest.
SPARE_CORES = 0.3


@dataclass(frozen=True)
class Case:
    """One measured call.

    `params` goes to the libraries' functions; `flops` and `bytes` are what the mathematics needs
    (a multiply-add is two operations), not what an implementation does. `peak` names the machine's
    limit for the operations. `tolerance` is the largest allowed max |difference| / max |value|
    between a library and fastnn.
    """

    name: str
    params: dict[str, Any]
    flops: float = 0.0
    bytes: float = 0.0
    tolerance: float = 1e-4
    reads: bool = False  # hardly a byte is written: the limit is the bandwidth of reading
    peak: str = "fma_gflops"
    quick: bool = False  # part of the short table
    bar: str = ""  # the row of targets.py that it counts for


@dataclass
class Timing:
    """Seconds a call, one number a sample, and the cores that were busy meanwhile."""

    library: str
    samples: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)
    error: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def minimum(self) -> float:
        return min(self.samples)


class Worker:
    """A process that runs one library's calls; see worker.py for the messages."""

    def __init__(self, library: str, threads: int, python: str) -> None:
        environment = dict(os.environ)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment[name] = str(threads)
        environment["FASTNN_NUM_THREADS"] = str(threads)
        # OpenVINO reports its use from a process of its own, which stays; not under CI.
        environment["CI"] = "true"
        self.library = library
        self.python = python
        self.process = subprocess.Popen(
            [python, str(HERE / "worker.py"), library, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    def ask(self, **message: Any) -> Any:
        """Send a message and wait for the answer; RuntimeError with the worker's words.

        Between messages the process is stopped: the threads of some libraries go on spinning after
        a call and would take a core from the next library's turn.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.send_signal(signal.SIGCONT)
            send(self.process.stdin, message)
            if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
                self.process.kill()
                self.process.wait()
                raise RuntimeError(f"no answer within {PATIENCE} s")
            answer = receive(self.process.stdout)
            self.process.send_signal(signal.SIGSTOP)
        except (EOFError, BrokenPipeError) as error:
            self.process.wait()
            raise RuntimeError("the worker process died") from error
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]


def send(stream: Any, message: Any) -> None:
    body = pickle.dumps(message)
    stream.write(struct.pack("<q", len(body)) + body)
    stream.flush()


def receive(stream: Any) -> Any:
    header = stream.read(8)
    if len(header) < 8:
        raise EOFError
    return pickle.loads(stream.read(struct.unpack("<q", header)[0]))


class Bench:
    """Workers for a set of libraries with one number of threads."""

    def __init__(
        self, threads: int, libraries: tuple[str, ...] = LIBRARIES, peer_python: str | None = None
    ) -> None:
        self.threads = threads
        self.workers: dict[str, Worker] = {}
        self.versions: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        for library in libraries:
            own = library in ("fastnn", "numpy")
            python = sys.executable if own or peer_python is None else peer_python
            self._start(library, python)

    def _start(self, library: str, python: str) -> None:
        worker = Worker(library, self.threads, python)
        try:
            self.versions[library] = worker.ask(command="import")
        except RuntimeError as error:
            worker.close()
            self.missing[library] = str(error)
            if library == "fastnn":
                raise
        else:
            self.workers[library] = worker

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for worker in self.workers.values():
            worker.close()

    def machine(self) -> dict[str, float]:
        """Measure this machine's limits: GFLOP/s and GB/s with this number of threads."""
        return self.workers["fastnn"].ask(command="machine")

    def measure(
        self, module: str, case: Case, *, samples: int = 15, seconds: float = 0.02
    ) -> list[Timing]:
        """Check and time `case` in every library that knows it.

        Each sample repeats the call for about `seconds`. A library whose result differs from
        fastnn's, or that keeps more cores busy than it was given threads, is reported with an
        error instead of samples.
        """
        timings = []
        expected = None
        for library, worker in list(self.workers.items()):
            timing = Timing(library)
            try:
                known = worker.ask(command="prepare", module=module, case=case)
                if not known:
                    continue
                result = worker.ask(command="result")
                if library == "fastnn":
                    expected = result
                else:
                    timing.error = difference(result, expected, case.tolerance)
            except RuntimeError as error:
                timing.error = str(error)
                if worker.process.poll() is not None:  # a crash must not silence later cases
                    worker.close()
                    self._start(library, worker.python)
            timings.append(timing)
        self._sample([t for t in timings if not t.error], samples, seconds)
        return timings

    def _sample(self, timings: list[Timing], samples: int, seconds: float) -> None:
        """Let the libraries take turns."""
        repeats, turn = {}, 1e-9
        for timing in timings:
            worker = self.workers[timing.library]
            repeats[worker], took = worker.ask(command="calibrate", seconds=seconds)
            turn += max(seconds, took)
        for _ in range(min(samples, max(FEW_SAMPLES, int(LONGEST / turn)))):
            for timing in timings:
                worker = self.workers[timing.library]
                took, cores = worker.ask(command="time", repeats=repeats[worker])
                timing.samples.append(took)
                timing.cores.append(cores)
        for timing in timings:
            cores = statistics.median(timing.cores or [0.0])
            if cores > self.threads + SPARE_CORES:
                timing.error = f"keeps {cores:.1f} cores busy with {self.threads} thread(s)"
                timing.samples.clear()


def as_arrays(result: Any) -> tuple[np.ndarray, ...]:
    """What a call returned, as arrays."""
    result = result() if callable(result) else result
    results = result if isinstance(result, (tuple, list)) else (result,)
    return tuple(np.asarray(r.detach().numpy() if hasattr(r, "detach") else r) for r in results)


def converted(
    call: Callable[[], Any], convert: Callable[[np.ndarray], np.ndarray]
) -> Callable[[], Any]:
    """Bring a call's results into fastnn's layout, for the comparison and untimed."""

    def run() -> Any:
        result = call()
        return lambda: tuple(convert(a) for a in as_arrays(result))

    return run


def within(scope: Callable[[], Any], call: Callable[[], Any]) -> Callable[[], Any]:
    """Let `call` run inside ``scope()``, which is entered around a sample and not at every call."""
    call.scope = scope  # type: ignore[attr-defined]
    return call


def fastest(*calls: Callable[[], Any]) -> Callable[[], Any]:
    """Choose the quickest of several ways to the same result, so that a library shows its best."""
    best, least = calls[0], float("inf")
    for call in calls if len(calls) > 1 else ():
        call()
        spent, took = 0.0, float("inf")
        while spent < 0.05:
            start = time.perf_counter()
            call()
            seconds = time.perf_counter() - start
            spent, took = spent + seconds, min(took, seconds)
        if took < least:
            best, least = call, took
    return best


_replayed = 0.0


def clock() -> float:
    """pytest-benchmark's timer: the seconds of the samples that have been replayed."""
    return _replayed


def replay(sample: float) -> None:
    """Let `clock` run on by a sample."""
    global _replayed
    _replayed += sample


def difference(actual: Any, expected: Any, tolerance: float) -> str:
    """Describe how far a result is from fastnn's; empty when within tolerance."""
    if expected is None:
        return "fastnn has no result to compare with"
    if len(actual) != len(expected):
        return f"{len(actual)} results instead of {len(expected)}"
    for a, e in zip(actual, expected):
        if tuple(n for n in a.shape if n != 1) != tuple(n for n in e.shape if n != 1):
            return f"shape {a.shape} instead of {e.shape}"
        a = a.reshape(e.shape)
        scale = max(float(np.max(np.abs(e), initial=0.0)), 1e-30)
        error = float(np.max(np.abs(a.astype(np.float64) - e), initial=0.0)) / scale
        if not error <= tolerance:
            return f"differs by {error:.1e} (allowed {tolerance:.1e})"
    return ""


def processor() -> str:
    """The CPU model as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return "unknown CPU"


def commit() -> str:
    """The commit that is measured, with a mark when more than results differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True).stdout

    head = git("rev-parse", "--short", "HEAD").strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!results")
    return (head + "-dirty" if changed else head) or "unknown"


def save(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
