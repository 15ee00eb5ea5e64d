"""Packed sequences, for porting code: the recurrent layers take ``lengths=`` and need none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnn.autograd import Array, ArrayLike, Result, array
from fastnn.functional._args import flag, integer
from fastnn.tensor import concatenate

__all__ = [
    "PackedSequence",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class PackedSequence(NamedTuple):
    """The steps of a batch of sequences without padding, as in PyTorch.

    Attributes
    ----------
    data : array or Tensor, shape (steps of all sequences, ...)
        Step by step; within a step the longest sequences come first.
    batch_sizes : array of int64, shape (T,)
        Sequences that are at least so long.
    sorted_indices : array of int64, shape (B,), or None
        The sequences in falling order of their lengths; None if they came so.
    unsorted_indices : array of int64, shape (B,), or None
        The inverse.
    """

    data: Any
    batch_sizes: Array
    sorted_indices: Array | None = None
    unsorted_indices: Array | None = None

    def repack(self, padded: Result, batch_first: bool = False) -> PackedSequence:
        """Pack another padded batch of the same lengths, in the original order."""
        times, places = _positions(self.batch_sizes)
        if self.sorted_indices is not None:
            places = self.sorted_indices[places]
        index = (places, times) if batch_first else (times, places)
        return self._replace(data=padded[index])


def _positions(batch_sizes: Array) -> tuple[Array, Array]:
    """Time and place within its step of every packed row."""
    times = np.repeat(np.arange(len(batch_sizes)), batch_sizes)
    starts = np.cumsum(batch_sizes) - batch_sizes
    return times, np.arange(len(times)) - starts[times]


def pack_padded_sequence(
    input: ArrayLike, lengths: ArrayLike, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Leave the padding out of a batch of sequences.

    Parameters
    ----------
    input : array or Tensor, shape (T, B, ...) or (B, T, ...) with batch_first
    lengths : array of int, shape (B,)
        In 1..T.
    batch_first : bool
    enforce_sorted : bool
        Whether lengths that do not fall are an error; otherwise the sequences are sorted.

    Returns
    -------
    PackedSequence

    Raises
    ------
    ValueError
        For lengths outside 1..T, or not falling with `enforce_sorted`.

    Examples
    --------
    >>> import numpy as np
    >>> packed = pack_padded_sequence(np.array([[1, 2, 0], [3, 0, 0]]), [2, 1], batch_first=True)
    >>> packed.data, packed.batch_sizes
    (array([1, 3, 2]), array([2, 1]))
    """
    op = "pack_padded_sequence"
    x, steps = array(input), np.asarray(lengths)
    batch_first = flag(op, "batch_first", batch_first)
    if x is None or x.ndim < 2:
        raise ValueError(f"{op}: input must have at least 2 dimensions")
    batch, time = x.shape[:2] if batch_first else x.shape[1::-1]
    if steps.dtype.kind not in "iu":
        raise TypeError(f"{op}: lengths.dtype must be an integer type, got {steps.dtype}")
    if steps.shape != (batch,):
        raise ValueError(f"{op}: lengths.shape must be ({batch},) (batch), got {steps.shape}")
    if batch == 0 or steps.min() < 1 or steps.max() > time:
        raise ValueError(f"{op}: lengths must be in 1..{time} (time steps), got {steps}")
    order = inverse = None
    if flag(op, "enforce_sorted", enforce_sorted):
        if np.any(steps[1:] > steps[:-1]):
            raise ValueError(
                f"{op}: lengths must not rise, got {steps}; enforce_sorted=False sorts them"
            )
    else:
        order = np.argsort(-steps.astype(np.int64), kind="stable")
        inverse = np.argsort(order)
    sizes = np.count_nonzero(steps > np.arange(steps.max())[:, None], axis=1)
    packed = PackedSequence(None, sizes.astype(np.int64), order, inverse)
    return packed.repack(input if hasattr(input, "dtype") else x, batch_first)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Result, Array]:
    """Return (padded, lengths), the inverse of :func:`pack_padded_sequence`.

    Parameters
    ----------
    sequence : PackedSequence
    batch_first : bool
    padding_value : float
    total_length : int, optional
        Steps of the result, at least those of the longest sequence.

    Raises
    ------
    TypeError
        If `sequence` is something else.
    ValueError
        If `total_length` is less than the longest sequence.

    Examples
    --------
    >>> import numpy as np
    >>> packed = pack_padded_sequence(np.array([[1, 2, 0], [3, 0, 0]]), [2, 1], batch_first=True)
    >>> pad_packed_sequence(packed, batch_first=True, total_length=3)
    (array([[1, 2, 0],
           [3, 0, 0]]), array([2, 1]))
    """
    op = "pad_packed_sequence"
    if not isinstance(sequence, PackedSequence):
        raise TypeError(f"{op}: sequence must be a PackedSequence, got {type(sequence).__name__}")
    sizes, data = sequence.batch_sizes, array(sequence.data)
    longest = len(sizes)
    total = longest if total_length is None else integer(op, "total_length", total_length)
    if total < longest:
        raise ValueError(
            f"{op}: total_length must be at least {longest} (the longest sequence), got {total}"
        )
    batch = int(sizes[0]) if longest else 0
    # Every place of the padded batch takes a packed row, or the row of padding behind them.
    index = np.full((total, batch), len(data))
    index[_positions(sizes)] = np.arange(len(data))
    lengths = np.count_nonzero(np.arange(batch) < sizes[:, None], axis=0)
    if sequence.unsorted_indices is not None:
        index, lengths = index[:, sequence.unsorted_indices], lengths[sequence.unsorted_indices]
    padding = np.full((1, *data.shape[1:]), padding_value, data.dtype)
    rows = concatenate([sequence.data, padding])
    return rows[index.T if flag(op, "batch_first", batch_first) else index], lengths


def pad_sequence(
    sequences: Sequence[ArrayLike],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Result:
    """Stack sequences (T_i, ...) into one batch (max T, B, ...), padded.

    Parameters
    ----------
    sequences : list of array or Tensor
    batch_first : bool
        Whether the batch is (B, max T, ...).
    padding_value : float
    padding_side : "right" or "left"
        Whether the padding comes behind or before a sequence.

    Raises
    ------
    ValueError
        If a sequence is empty, or there is none; for another `padding_side`.

    Examples
    --------
    >>> import numpy as np
    >>> pad_sequence([np.array([1, 2]), np.array([3])], batch_first=True)
    array([[1, 2],
           [3, 0]])
    """
    if padding_side not in ("right", "left"):
        raise ValueError(
            f"pad_sequence: padding_side must be 'right' or 'left', got {padding_side!r}"
        )
    packed = _pack("pad_sequence", sequences)
    padded, lengths = pad_packed_sequence(packed, batch_first, padding_value)
    if padding_side == "right":
        return padded
    batch, steps = np.arange(len(lengths)), np.arange(len(packed.batch_sizes))
    # Rotated, the padding from behind stands before the sequence.
    times = (steps[:, None] + lengths) % len(steps)
    return padded[batch[:, None], times.T] if batch_first else padded[times, batch]


def unpad_sequence(
    padded_sequences: ArrayLike, lengths: ArrayLike, batch_first: bool = False
) -> list[Result]:
    """Return the sequences (T_i, ...) of a padded batch, the inverse of :func:`pad_sequence`.

    Examples
    --------
    >>> import numpy as np
    >>> unpad_sequence(np.array([[1, 2], [3, 0]]), [2, 1], batch_first=True)
    [array([1, 2]), array([3])]
    """
    packed = pack_padded_sequence(padded_sequences, lengths, batch_first, enforce_sorted=False)
    return unpack_sequence(packed)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Result]:
    """Return the sequences (T_i, ...), the inverse of :func:`pack_sequence`.

    Examples
    --------
    >>> import numpy as np
    >>> unpack_sequence(pack_sequence([np.array([1, 2]), np.array([3])]))
    [array([1, 2]), array([3])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return [padded[i, :length] for i, length in enumerate(lengths)]


def pack_sequence(sequences: Sequence[ArrayLike], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (T_i, ...) of any lengths; see :func:`pack_padded_sequence`.

    Examples
    --------
    >>> import numpy as np
    >>> pack_sequence([np.array([1, 2]), np.array([3])]).data
    array([1, 3, 2])
    """
    packed = _pack("pack_sequence", sequences)
    if not enforce_sorted:
        return packed
    assert packed.sorted_indices is not None
    if np.any(np.diff(packed.sorted_indices) < 0):
        raise ValueError(
            "pack_sequence: lengths must not rise; enforce_sorted=False sorts the sequences"
        )
    return packed._replace(sorted_indices=None, unsorted_indices=None)


def _pack(op: str, sequences: Sequence[ArrayLike]) -> PackedSequence:
    """Pack a list; the rows are gathered from the sequences' concatenation."""
    if not isinstance(sequences, Sequence) or any(np.ndim(array(s)) == 0 for s in sequences):
        raise TypeError(f"{op}: sequences must be a list of arrays (T_i, ...), got {sequences!r}")
    lengths = np.array([len(array(s)) for s in sequences], np.int64)
    if len(lengths) == 0 or lengths.min() < 1:
        raise ValueError(f"{op}: sequences must not be empty, got lengths {lengths}")
    order = np.argsort(-lengths, kind="stable")
    sizes = np.count_nonzero(lengths > np.arange(lengths.max())[:, None], axis=1).astype(np.int64)
    times, places = _positions(sizes)
    starts = np.cumsum(lengths) - lengths
    rows = concatenate(list(sequences))
    return PackedSequence(rows[starts[order][places] + times], sizes, order, np.argsort(order))
