"""The one source of randomness: initial weights, shuffling and dropout."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_MASK = 2**64 - 1


class _State:
    """Process-wide seed, NumPy generator and dropout counter."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.seed = int.from_bytes(os.urandom(8), "little")
        self.offset = 0
        self.generator: np.random.Generator | None = None


_state = _State()


def manual_seed(seed: int) -> None:
    """Make everything random that follows repeatable.

    Parameters
    ----------
    seed : int
        Any integer; it is taken modulo 2**64.

    Raises
    ------
    TypeError
        If `seed` is not an integer.

    Examples
    --------
    >>> manual_seed(0)
    >>> first = generator().random(3)
    >>> manual_seed(0)
    >>> bool((generator().random(3) == first).all())
    True
    """
    if not hasattr(seed, "__index__"):
        raise TypeError(f"manual_seed: seed must be an int, got {type(seed).__name__}")
    with _state.lock:
        _state.seed = seed.__index__() & _MASK
        _state.offset = 0
        _state.generator = None


def initial_seed() -> int:
    """Return the seed in use, as given to :func:`manual_seed` or drawn at import."""
    return _state.seed


def generator() -> np.random.Generator:
    """Return the process-wide NumPy generator (do not keep it across a re-seed)."""
    found = _state.generator
    if found is not None:
        return found
    import numpy as np

    with _state.lock:
        if _state.generator is None:
            _state.generator = np.random.Generator(np.random.PCG64(_state.seed))
        return _state.generator


def next_philox_key() -> tuple[int, int]:
    """Return a (seed, offset) pair that no earlier call since the seeding returned.

    Both are in ``[0, 2**64)``. A counter-based kernel takes the seed as its key and the
    offset as the high half of its counter; the low half numbers the elements.
    """
    with _state.lock:
        key = (_state.seed, _state.offset)
        _state.offset = (_state.offset + 1) & _MASK
    return key
