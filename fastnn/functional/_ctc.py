"""Connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Result, array, record
from fastnn.functional._args import integer, recorded, refuse_out_while_recording
from fastnn.functional._pointwise_loss import check_reduction, operand, write

__all__ = ["ctc_loss"]


def ctc_loss(
    log_probs: ArrayLike,
    targets: ArrayLike,
    input_lengths: ArrayLike,
    target_lengths: ArrayLike,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    out: Array | None = None,
) -> Result:
    """Minus the log-probability of a sequence of labels, over all its alignments with the input.

    Computed in logarithms relative to each step's largest, so long inputs lose no accuracy.

    Parameters
    ----------
    log_probs : array or Tensor, shape (T, N, C) or (T, C), float32 or float64
        Logarithms of the probabilities of C classes at T steps (see :func:`log_softmax`).
    targets : integer array, shape (N, S) or (sum of target_lengths,); (S,) for one sample
        Labels; what lies behind a row's length is not read.
    input_lengths, target_lengths : int, sequence or integer array, shape (N,) or ()
        Steps and labels of each sample.
    blank : int
        The class that stands for no label.
    reduction : {"mean", "none", "sum"}
        The mean is that of the losses divided by the target lengths (at least 1).
    zero_infinity : bool
        Whether a loss that is infinite (a target longer than its input allows) counts 0 and has a
        zero gradient.
    out : array, optional
        Where to write the result; not while a gradient is being recorded.

    Returns
    -------
    array or Tensor, shape (), or (N,) for ``reduction="none"``

    Raises
    ------
    TypeError
        For dtypes that do not fit.
    ValueError
        For shapes, lengths or labels that do not fit.

    Notes
    -----
    The gradient is that of the function above, for any `log_probs`: minus the probability of
    being at a label at a step. PyTorch returns ``exp(log_probs)`` more, which the gradient of
    log_softmax removes.

    Source: Graves et al., "Connectionist temporal classification", 2006.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> log_probs = np.log(np.full((2, 1, 3), 1 / 3))
    >>> float(F.ctc_loss(log_probs, np.array([[1]]), [2], [1]).round(6))  # -log(3 / 9)
    1.098612
    """
    if out is not None:
        refuse_out_while_recording("ctc_loss", out, log_probs)
    check_reduction("ctc_loss", reduction)
    x, t = operand("ctc_loss", "log_probs", log_probs), operand("ctc_loss", "targets", targets)
    blank = integer("ctc_loss", "blank", blank)
    single = x.ndim == 2
    if single:
        x, t = x[:, None, :], t[None] if t.ndim == 1 else t
    steps, labels = (_lengths(value) for value in (input_lengths, target_lengths))
    keep = recorded(log_probs)
    # Losses of single samples are written where they are wanted.
    direct = out if reduction == "none" and not single else None
    losses, alpha, offsets = _core.ctc_loss_forward(x, t, steps, labels, blank, keep, direct)
    if zero_infinity:
        np.copyto(losses, 0, where=np.isinf(losses))
    # What multiplies each loss in the result.
    weights: Any = losses.dtype.type(1)
    if reduction == "mean":
        with np.errstate(divide="ignore"):
            weights = (1 / np.maximum(labels, 1) / np.float64(len(losses))).astype(losses.dtype)
    if reduction == "none":
        y = losses[0] if single else losses
    elif len(losses) == 0:
        y = losses.dtype.type(np.nan if reduction == "mean" else 0)
    else:
        y = np.sum(losses * weights, dtype=np.float64).astype(losses.dtype)

    def backward(grad: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        each = np.broadcast_to(grad * weights, losses.shape)
        grad_x = _core.ctc_loss_backward(
            each, x, t, steps, labels, blank, alpha, offsets, bool(zero_infinity)
        )
        return (grad_x[:, 0, :] if single else grad_x,)

    result = record(np.asarray(y), (log_probs,), backward, name="ctc_loss")
    return result if direct is not None else write("ctc_loss", result, out, log_probs)


def _lengths(value: ArrayLike) -> Array:
    return np.atleast_1d(array(value))
