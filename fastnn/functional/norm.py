"""Normalisation: layer, RMS, group, instance, batch, local response, and by a vector norm.

Statistics are exact to rounding also where the mean is large beside the spread, and their order of
summation depends on the shape alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Union

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, ArrayLike, Gradients, Result, TensorBase, array, record
from fastnn.functional._args import integer, number, refuse_out_while_recording
from fastnn.functional._normalize import normalize

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "normalize",
    "rms_norm",
]

Shape = Union[int, Sequence[int]]


def layer_norm(
    input: ArrayLike,
    normalized_shape: Shape,
    weight: ArrayLike = None,
    bias: ArrayLike = None,
    eps: float = 1e-5,
    *,
    out: Array | None = None,
) -> Result:
    r"""Normalise the last dimensions to mean 0 and variance 1, then scale and shift.

    .. math:: y = (x - E[x]) / \sqrt{Var[x] + \epsilon} * weight + bias

    Mean and (biased) variance are those of the last ``len(normalized_shape)`` dimensions.

    Parameters
    ----------
    input : array or Tensor, shape (..., *normalized_shape), float32 or float64
    normalized_shape : int or tuple of int
    weight, bias : array or Tensor, shape normalized_shape, optional
    eps : float
    out : array, optional
        Where to write the result: contiguous, not overlapping an input. Not while a gradient is
        being recorded.

    Returns
    -------
    array or Tensor of input's shape

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit, or a negative eps.

    References
    ----------
    Ba, Kiros, Hinton: Layer Normalization, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.layer_norm(np.array([[10000.0, 10002.0]]), (2,), eps=0)
    array([[-1.,  1.]])
    """
    x, w, b = array(input), array(weight), array(bias)
    if out is not None:
        refuse_out_while_recording("layer_norm", out, input, weight, bias)
    y, statistics = _core.layer_norm_forward(x, normalized_shape, w, b, eps, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        result: Gradients = _core.layer_norm_backward(
            grad, x, normalized_shape, w, statistics, needs[1], needs[2]
        )
        return result

    return record(y, (input, weight, bias), backward, name="layer_norm")


def rms_norm(
    input: ArrayLike,
    normalized_shape: Shape,
    weight: ArrayLike = None,
    eps: float | None = None,
    *,
    out: Array | None = None,
) -> Result:
    r"""Divide by the root mean square over the last dimensions, then scale.

    .. math:: y = x / \sqrt{E[x^2] + \epsilon} * weight

    Parameters
    ----------
    input : array or Tensor, shape (..., *normalized_shape), float32 or float64
    normalized_shape : int or tuple of int
    weight : array or Tensor, shape normalized_shape, optional
    eps : float, optional
        By default the spacing of input's dtype at 1.
    out : array, optional
        As in :func:`layer_norm`.

    Returns
    -------
    array or Tensor of input's shape

    Raises
    ------
    TypeError, ValueError
        As :func:`layer_norm`.

    References
    ----------
    Zhang, Sennrich: Root Mean Square Layer Normalization, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.rms_norm(np.array([2.0, 2.0, -2.0, 2.0]), (4,), eps=0)
    array([ 1.,  1., -1.,  1.])
    """
    x, w = array(input), array(weight)
    if out is not None:
        refuse_out_while_recording("rms_norm", out, input, weight)
    if eps is None:
        eps = _EPSILON.get(x.dtype, 0.0) if x is not None else 0.0
    y, statistics = _core.rms_norm_forward(x, normalized_shape, w, None, eps, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        result: Gradients = _core.rms_norm_backward(
            grad, x, normalized_shape, w, statistics, needs[1], False
        )
        return result[:2]

    return record(y, (input, weight), backward, name="rms_norm")


_EPSILON = {np.dtype(t): float(np.finfo(t).eps) for t in (np.float32, np.float64)}


def group_norm(
    input: ArrayLike,
    num_groups: int,
    weight: ArrayLike = None,
    bias: ArrayLike = None,
    eps: float = 1e-5,
    *,
    out: Array | None = None,
) -> Result:
    r"""Normalise each group of channels of each image, then scale and shift each channel.

    .. math:: y = (x - E[x]) / \sqrt{Var[x] + \epsilon} * weight_c + bias_c

    Parameters
    ----------
    input : array or Tensor, shape (N, C, ...), float32 or float64
    num_groups : int
        How many groups the C channels make; it divides C.
    weight, bias : array or Tensor, shape (C,), optional
    eps : float
    out : array, optional
        As in :func:`layer_norm`.

    Returns
    -------
    array or Tensor of input's shape

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit, or where all there is to normalise is one value per group.

    References
    ----------
    Wu, He: Group Normalization, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.group_norm(np.array([[1.0, 3.0, 5.0, 9.0]]), 2, eps=0)
    array([[-1.,  1., -1.,  1.]])
    """
    x, w, b = array(input), array(weight), array(bias)
    num_groups = integer("group_norm", "num_groups", num_groups)
    if out is not None:
        refuse_out_while_recording("group_norm", out, input, weight, bias)
    y, statistics = _core.group_norm_forward(x, num_groups, w, b, eps, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        result: Gradients = _core.group_norm_backward(
            grad, x, num_groups, w, statistics, needs[1], needs[2]
        )
        return result

    return record(y, (input, weight, bias), backward, name="group_norm")


def instance_norm(
    input: ArrayLike,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: ArrayLike = None,
    bias: ArrayLike = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    out: Array | None = None,
) -> Result:
    r"""Normalise each channel of each image, then scale and shift it.

    .. math:: y = (x - E[x]) / \sqrt{Var[x] + \epsilon} * weight_c + bias_c

    Parameters
    ----------
    input : array or Tensor, shape (N, C, ...), float32 or float64
    running_mean, running_var : array, shape (C,), optional
        With `use_input_stats` they are updated in place:
        ``running = (1 - momentum) * running + momentum * mean over the batch``, where the
        variances are the unbiased ones. Without, they are used in the place of input's own.
    weight, bias : array or Tensor, shape (C,), optional
    use_input_stats : bool
    momentum, eps : float
    out : array, optional
        As in :func:`layer_norm`.

    Returns
    -------
    array or Tensor of input's shape

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit, one value per channel, or running statistics that are missing
        or cannot be written.

    References
    ----------
    Ulyanov, Vedaldi, Lempitsky: Instance Normalization, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.instance_norm(np.array([[[1.0, 3.0], [2.0, 10.0]]]), eps=1e-12).round(6)
    array([[[-1.,  1.],
            [-1.,  1.]]])
    """
    x, w, b = array(input), array(weight), array(bias)
    mean, var = _buffer(running_mean), _buffer(running_var)
    if out is not None:
        refuse_out_while_recording("instance_norm", out, input, weight, bias)
    if use_input_stats:
        y, statistics = _core.instance_norm_forward(x, mean, var, w, b, momentum, eps, out)
    else:
        if mean is None or var is None:
            raise ValueError(
                "instance_norm: running_mean and running_var must be given when "
                "use_input_stats is False"
            )
        y, statistics = _core.batch_norm_forward(x, mean, var, w, b, False, momentum, eps, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        result: Gradients
        if use_input_stats:
            result = _core.group_norm_backward(
                grad, x, max(1, x.shape[1]), w, statistics, needs[1], needs[2]
            )
        else:
            result = _core.batch_norm_backward(grad, x, w, statistics, False, needs[1], needs[2])
        return result

    return record(y, (input, weight, bias), backward, name="instance_norm")


def batch_norm(
    input: ArrayLike,
    running_mean: Array | None,
    running_var: Array | None,
    weight: ArrayLike = None,
    bias: ArrayLike = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    out: Array | None = None,
) -> Result:
    r"""Normalise each channel over the batch, then scale and shift it.

    .. math:: y = (x - E[x]) / \sqrt{Var[x] + \epsilon} * weight_c + bias_c

    Parameters
    ----------
    input : array or Tensor, shape (N, C, ...), float32 or float64
    running_mean, running_var : array, shape (C,), or None
        In training they are updated in place: ``running = (1 - momentum) * running + momentum *
        statistic``, the variance being the unbiased one; otherwise they are E and Var, and have
        to be given.
    weight, bias : array or Tensor, shape (C,), optional
    training : bool
        Whether to normalise with input's own mean and (biased) variance.
    momentum, eps : float
    out : array, optional
        As in :func:`layer_norm`.

    Returns
    -------
    array or Tensor of input's shape

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64, or mixed ones.
    ValueError
        For shapes that do not fit, one value per channel in training, or running statistics that
        are missing or cannot be written.

    References
    ----------
    Ioffe, Szegedy: Batch Normalization, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> mean, var = np.zeros(1), np.ones(1)
    >>> F.batch_norm(np.array([[1.0], [3.0]]), mean, var, training=True, eps=1e-12).round(6)
    array([[-1.],
           [ 1.]])
    >>> mean, var
    (array([0.2]), array([1.1]))
    """
    x, w, b = array(input), array(weight), array(bias)
    if out is not None:
        refuse_out_while_recording("batch_norm", out, input, weight, bias)
    training = bool(training)
    mean, var = _buffer(running_mean), _buffer(running_var)
    y, statistics = _core.batch_norm_forward(x, mean, var, w, b, training, momentum, eps, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        result: Gradients = _core.batch_norm_backward(
            grad, x, w, statistics, training, needs[1], needs[2]
        )
        return result

    return record(y, (input, weight, bias), backward, name="batch_norm")


def _buffer(value: Any) -> Any:
    """Return what is updated in place as it is: a list would be converted, and the update lost."""
    return value._data if isinstance(value, TensorBase) else value


def local_response_norm(
    input: ArrayLike,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    out: Array | None = None,
) -> Result:
    r"""Divide by a power of the mean square over neighbouring channels.

    .. math:: y_c = x_c \,/\, (k + \alpha / size \sum_{i} x_i^2)^{\beta}

    The sum goes over the channels from ``c - size // 2`` to ``c + (size - 1) // 2`` that exist.

    Parameters
    ----------
    input : array or Tensor, shape (N, C, L, ...), float32 or float64
    size : int
        Number of channels in a window.
    alpha, beta, k : float
    out : array, optional
        As in :func:`layer_norm`.

    Returns
    -------
    array or Tensor of input's shape

    Raises
    ------
    TypeError
        For dtypes other than float32 and float64.
    ValueError
        If input has less than 3 dimensions or size is not positive.

    References
    ----------
    Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks,
    2012.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn.functional as F
    >>> F.local_response_norm(np.ones((1, 3, 1)), 2, alpha=6.0, beta=0.5, k=3.0).ravel().round(6)
    array([0.408248, 0.333333, 0.333333])
    """
    op = "local_response_norm"
    x = array(input)
    size = integer(op, "size", size)
    alpha, beta, k = number(op, "alpha", alpha), number(op, "beta", beta), number(op, "k", k)
    if out is not None:
        refuse_out_while_recording(op, out, input)
    y = _core.local_response_norm_forward(x, size, alpha, beta, k, out)

    def backward(grad: Array, needs: tuple[bool, ...]) -> Gradients:
        return (_core.local_response_norm_backward(grad, x, size, alpha, beta, k),)

    return record(y, (input,), backward, name=op)
