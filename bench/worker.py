"""Runs one library's calls in a process of its own: ``worker.py LIBRARY THREADS``.

Messages come in on standard input and answers go out on standard output, each a pickled dict
behind its length; see harness.py.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from harness import as_arrays, receive, send

MODULES = {"tflite": "tensorflow"}


def set_threads(library: str, threads: int) -> str:
    """Import the library, give it its threads and return its version.

    The other peers read the number where they prepare a model (*_models.py).
    """
    module = importlib.import_module(MODULES.get(library, library))
    if library in ("fastnn", "torch"):
        module.set_num_threads(threads)
    return str(module.__version__)


def measure_machine() -> dict[str, float]:
    from fastnn import _core

    return {
        # The best of several: another program's burst must not pass for the machine's limit.
        "fma_gflops": max(_core.fma_peak() for _ in range(6)),
        "bfloat16_gflops": max(_core.bfloat16_peak() for _ in range(3)),
        "int8_gops": max(_core.int8_peak() for _ in range(3)),
        "copy_gbs": _core.stream_copy(1 << 28),
        "read_gbs": _core.stream_read(1 << 28),
    }


class Session:
    """The call being measured."""

    def __init__(self, library: str, threads: int) -> None:
        self.library = library
        self.threads = threads
        self.call: Callable[[], Any] = lambda: None

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """What the call wants around it, see harness.within."""
        return getattr(self.call, "scope", contextlib.nullcontext)()

    def run(self, message: dict[str, Any]) -> Any:
        command = message["command"]
        if command == "import":
            return set_threads(self.library, self.threads)
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
            with self.scope():
                return as_arrays(self.call())
        if command == "calibrate":
            self.time(1)
            seconds, _ = self.time(1)
            return max(1, int(message["seconds"] / max(seconds, 1e-7))), seconds
        if command == "time":
            return self.time(message["repeats"])
        raise ValueError(f"unknown command {command!r}")

    def time(self, repeats: int) -> tuple[float, float]:
        """Seconds a call, and how many cores this process kept busy."""
        call = self.call
        with self.scope():
            busy = time.process_time()
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            seconds = time.perf_counter() - start
        return seconds / repeats, (time.process_time() - busy) / max(seconds, 1e-9)


def main() -> None:
    session = Session(sys.argv[1], int(sys.argv[2]))
    # Libraries print to standard output; the answers keep a descriptor of their own.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            message = receive(sys.stdin.buffer)
        except EOFError:
            os._exit(0)  # some libraries hang when they are unloaded
        try:
            answer = {"value": session.run(message)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        send(answers, answer)


if __name__ == "__main__":
    main()
