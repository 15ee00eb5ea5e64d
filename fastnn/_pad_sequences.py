"""Sequences of unlike length as one array, with the semantics of Keras."""

from __future__ import annotations

import operator
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

__all__ = ["pad_sequences"]


def pad_sequences(
    sequences: Sequence[Sequence[Any]],
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> NDArray[Any]:
    """Make sequences equally long and put them into one array.

    Parameters
    ----------
    sequences : sequence of sequences
        Elements are numbers, or arrays that all have the same shape.
    maxlen : int, optional
        The length wanted; by default that of the longest sequence.
    dtype : dtype
        Type of the result. ``object`` or a string type for strings.
    padding : {"pre", "post"}
        Whether `value` goes before or after a sequence that is too short.
    truncating : {"pre", "post"}
        Whether a sequence that is too long loses its beginning or its end.
    value : number or str
        What to pad with.

    Returns
    -------
    ndarray, (len(sequences), maxlen, ...)
        The padded sequences.

    Raises
    ------
    TypeError
        If `maxlen` is not an int.
    ValueError
        If `sequences` is not a sequence of sequences, their elements differ in shape, `maxlen` is
        negative, or `padding`, `truncating` or `value` is none of the above.

    References
    ----------
    The function of the same name in ``tf.keras.utils``.

    Examples
    --------
    >>> pad_sequences([[1], [2, 3], [4, 5, 6]])
    array([[0, 0, 1],
           [0, 2, 3],
           [4, 5, 6]], dtype=int32)
    >>> pad_sequences([[1], [2, 3], [4, 5, 6]], maxlen=2, padding="post", value=-1)
    array([[ 1, -1],
           [ 2,  3],
           [ 5,  6]], dtype=int32)
    """
    for name, choice in (("padding", padding), ("truncating", truncating)):
        if choice not in ("pre", "post"):
            raise ValueError(f"pad_sequences: {name} must be 'pre' or 'post', got {choice!r}")
    lengths = _lengths(sequences)
    if maxlen is None:
        maxlen = max(lengths, default=0)
    maxlen = size("pad_sequences: maxlen", maxlen)
    dtype = np.dtype(dtype)
    if isinstance(value, str) and dtype.kind not in "OU":
        raise ValueError(
            f"pad_sequences: value must be a number for dtype {dtype}, got the str {value!r}; "
            "pass dtype=object to pad strings"
        )

    if max(lengths, default=0) > maxlen:
        # A slice from -0 would keep everything.
        kept = slice(-maxlen, None) if truncating == "pre" and maxlen else slice(maxlen)
        sequences = [s if len(s) <= maxlen else s[kept] for s in sequences]
        lengths = [min(length, maxlen) for length in lengths]

    first = next((s for s in sequences if len(s)), ())
    element_shape = np.shape(first)[1:]
    try:
        padded = np.full((len(sequences), maxlen, *element_shape), value, dtype)
    except (TypeError, OverflowError):
        raise TypeError(f"pad_sequences: value must fit dtype {dtype}, got {value!r}") from None
    except ValueError:
        raise ValueError(f"pad_sequences: maxlen {maxlen} is too large") from None
    if isinstance(first, (list, tuple)) and element_shape == () and dtype.kind in "biufc":
        try:
            elements = np.fromiter(chain.from_iterable(sequences), dtype, sum(lengths))
        except (TypeError, ValueError):
            pass  # Some element is no scalar: the loop below finds it.
        else:
            column = np.arange(maxlen)[:: 1 if padding == "post" else -1]
            padded[column < np.array(lengths)[:, None]] = elements
            return padded

    for row, (sequence, length) in enumerate(zip(sequences, lengths)):
        if length:
            elements = np.asarray(sequence, dtype)
            if elements.shape[1:] != element_shape:
                raise ValueError(
                    f"pad_sequences: elements of sequences[{row}] must have shape {element_shape}, "
                    f"got {elements.shape[1:]}"
                )
            start = 0 if padding == "post" else maxlen - length
            padded[row, start : start + length] = elements
    return padded


def size(name: str, value: Any) -> int:
    """Return `value` as an int that is not negative."""
    try:
        size = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, got {type(value).__name__}") from None
    if size < 0:
        raise ValueError(f"{name} must not be negative, got {size}")
    return size


def _lengths(sequences: Sequence[Sequence[Any]]) -> list[int]:
    """Return the length of each sequence."""
    try:
        len(sequences)
    except TypeError:
        raise ValueError(
            "pad_sequences: sequences must be a sequence of sequences, "
            f"got {type(sequences).__name__}"
        ) from None
    try:
        return [len(sequence) for sequence in sequences]
    except TypeError:
        row = next(i for i, s in enumerate(sequences) if not hasattr(s, "__len__"))
        raise ValueError(
            f"pad_sequences: sequences[{row}] must be a sequence, "
            f"got {type(sequences[row]).__name__}"
        ) from None
