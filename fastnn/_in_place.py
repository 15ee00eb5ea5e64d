"""Arrays that kernels change in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from fastnn.autograd import Array

__all__ = ["in_place"]


@contextmanager
def in_place(arrays: list[Array]) -> Iterator[list[Array]]:
    """Give writable arrays that the kernels can take: copies, written back, of other layouts."""
    flags = [array.flags for array in arrays]
    if all(flag.carray for flag in flags):
        yield arrays
        return
    copied = [not flag.carray and flag.writeable for flag in flags]
    work = [np.array(a, order="C") if c else a for a, c in zip(arrays, copied)]
    yield work
    for array, copy_of_array, is_copy in zip(arrays, work, copied):
        if is_copy:
            array[...] = copy_of_array
