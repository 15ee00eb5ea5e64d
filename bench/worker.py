"""Runs one library's calls in a process of its own: ``worker.py LIBRARY THREADS``.

Messages come in on standard input and answers go out on standard output, each a pickled dict
behind its length; see harness.py.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import receive, send


def set_threads(library: str, threads: int) -> None:
    """Import the library and give it its threads."""
    if library == "fastnn":
        import fastnn

        fastnn.set_num_threads(threads)
    elif library == "torch":
        import torch

        torch.set_num_threads(threads)
    elif library != "numpy":
        importlib.import_module({"tflite": "tensorflow"}.get(library, library))


def measure_machine() -> dict[str, float]:
    from fastnn import _core

    return {
        # The best of several: another program's burst must not pass for the machine's limit.
        "fma_gflops": max(_core.fma_peak() for _ in range(6)),
        "copy_gbs": _core.stream_copy(1 << 28),
        "read_gbs": _core.stream_read(1 << 28),
    }


def as_arrays(result: Any) -> tuple[np.ndarray, ...]:
    results = result if isinstance(result, (tuple, list)) else (result,)
    return tuple(np.asarray(r.detach().numpy() if hasattr(r, "detach") else r) for r in results)


class Session:
    """The call being measured."""

    def __init__(self, library: str, threads: int) -> None:
        self.library = library
        self.threads = threads
        self.call: Callable[[], Any] = lambda: None

    def run(self, message: dict[str, Any]) -> Any:
        command = message["command"]
        if command == "import":
            set_threads(self.library, self.threads)
            return True
        if command == "machine":
            return measure_machine()
        if command == "prepare":
            module = importlib.import_module(message["module"])
            prepare = getattr(module, self.library, None)
            call = prepare(message["case"]) if prepare is not None else None
            if call is not None:
                self.call = call
            return call is not None
        if command == "result":
            return as_arrays(self.call())
        if command == "calibrate":
            self.call()
            return max(1, int(message["seconds"] / max(self.time(1), 1e-7)))
        if command == "time":
            return self.time(message["repeats"])
        raise ValueError(f"unknown command {command!r}")

    def time(self, repeats: int) -> float:
        call = self.call
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - start) / repeats


def main() -> None:
    session = Session(sys.argv[1], int(sys.argv[2]))
    # Libraries print to standard output; the answers keep a descriptor of their own.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            message = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = {"value": session.run(message)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        send(answers, answer)


if __name__ == "__main__":
    main()
