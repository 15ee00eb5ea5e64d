"""Initialisers: fill a tensor in place and return it, with PyTorch's definitions.

Each takes a Parameter, Tensor or ndarray and draws from fastnn's generator (see
``fastnn.manual_seed``) unless it is given another.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fastnn import random
from fastnn.autograd import Array, TensorBase
from fastnn.functional._args import natural, number, probability

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_T = TypeVar("_T", TensorBase, Array)


def _data(name: str, tensor: Any) -> Array:
    """Return the array to fill, after dropping whatever was derived from it."""
    if isinstance(tensor, TensorBase):
        tensor.drop_packs()
        tensor = tensor._data
    if not isinstance(tensor, np.ndarray) or tensor.dtype.char not in "fd":
        kind = tensor.dtype if isinstance(tensor, np.ndarray) else type(tensor).__name__
        raise TypeError(
            f"{name}: tensor must be a Tensor or ndarray of float32 or float64, got {kind}"
        )
    return tensor


def _matrix(name: str, tensor: Any) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight (out, in, *kernel)."""
    shape = _data(name, tensor).shape
    if len(shape) < 2:
        raise ValueError(f"{name}: tensor must have at least 2 dimensions, got shape {shape}")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _generator(name: str, generator: Any) -> Generator:
    if generator is None:
        return random.generator()
    if not isinstance(generator, np.random.Generator):
        raise TypeError(
            f"{name}: generator must be a numpy.random.Generator, got {type(generator).__name__}"
        )
    return generator


def _interval(name: str, a: Any, b: Any) -> tuple[float, float]:
    a, b = number(name, "a", a), number(name, "b", b)
    if not b >= a:
        raise ValueError(f"{name}: b must be >= a, got a={a:g} and b={b:g}")
    return a, b


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance through a nonlinearity.

    Parameters
    ----------
    nonlinearity : str
        "linear", "conv1d", "conv2d", "conv3d", "sigmoid", "tanh", "relu", "leaky_relu"
        or "selu".
    param : float, optional
        The negative slope of leaky_relu; 0.01 if left out.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> calculate_gain("tanh")
    1.6666666666666667
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2 / (1 + slope**2))
    gains = {
        "linear": 1.0,
        "conv1d": 1.0,
        "conv2d": 1.0,
        "conv3d": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "selu": 0.75,
    }
    if nonlinearity not in gains:
        names = ", ".join([*gains, "leaky_relu"])
        raise ValueError(
            f"calculate_gain: nonlinearity must be one of {names}, got {nonlinearity!r}"
        )
    return gains[nonlinearity]


def uniform_(tensor: _T, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> _T:
    """Fill from the uniform distribution on [a, b).

    Examples
    --------
    >>> weight = uniform_(np.empty((2, 3)), -1, 1)
    >>> bool((abs(weight) <= 1).all())
    True
    """
    data = _data("uniform_", tensor)
    a, b = _interval("uniform_", a, b)
    draw = _generator("uniform_", generator).random(data.shape, dtype=data.dtype.type)
    data[...] = a + (b - a) * draw
    return tensor


def normal_(
    tensor: _T, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> _T:
    """Fill from the normal distribution with this mean and standard deviation."""
    data = _data("normal_", tensor)
    mean, std = number("normal_", "mean", mean), _checked_std("normal_", std)
    draw = _generator("normal_", generator).standard_normal(data.shape, dtype=data.dtype.type)
    data[...] = mean + std * draw
    return tensor


def _checked_std(name: str, std: Any) -> float:
    value = number(name, "std", std)
    if not value >= 0:
        raise ValueError(f"{name}: std must be >= 0, got {std}")
    return value


def constant_(tensor: _T, val: float) -> _T:
    """Fill with one value."""
    return _fill("constant_", tensor, val)


def _fill(name: str, tensor: _T, val: float) -> _T:
    _data(name, tensor)[...] = number(name, "val", val)
    return tensor


def zeros_(tensor: _T) -> _T:
    """Fill with 0."""
    return _fill("zeros_", tensor, 0.0)


def ones_(tensor: _T) -> _T:
    """Fill with 1."""
    return _fill("ones_", tensor, 1.0)


def eye_(tensor: _T) -> _T:
    """Fill a matrix with the identity."""
    data = _data("eye_", tensor)
    if data.ndim != 2:
        raise ValueError(f"eye_: tensor must have 2 dimensions, got shape {data.shape}")
    data[...] = np.eye(*data.shape)
    return tensor


def dirac_(tensor: _T, groups: int = 1) -> _T:
    """Fill the weight (out, in, *kernel) of a convolution so that it passes its input on.

    Raises
    ------
    ValueError
        If there are not 3 to 5 dimensions, or `groups` does not divide shape[0].
    """
    data: Array = _data("dirac_", tensor)
    groups = natural("dirac_", "groups", groups, 1)
    if not 3 <= data.ndim <= 5 or data.shape[0] % groups:
        raise ValueError(
            "dirac_: tensor must have 3 to 5 dimensions, and groups divide the first, "
            f"got shape {data.shape} and groups={groups}"
        )
    out_channels = data.shape[0] // groups
    channel = np.arange(min(out_channels, data.shape[1]))
    data[...] = 0
    if data.size == 0:
        return tensor
    centre: tuple[Any, ...] = (Ellipsis, *(size // 2 for size in data.shape[2:]))
    centres = data[centre]
    for group in range(groups):
        centres[group * out_channels + channel, channel] = 1
    return tensor


def sparse_(
    tensor: _T, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> _T:
    """Fill a matrix from N(0, std), with a share `sparsity` of each column zero.

    Source: Martens, "Deep learning via Hessian-free optimization", 2010.
    """
    data = _data("sparse_", tensor)
    if data.ndim != 2:
        raise ValueError(f"sparse_: tensor must have 2 dimensions, got shape {data.shape}")
    zeros = math.ceil(probability("sparse_", "sparsity", sparsity) * data.shape[0])
    normal_(tensor, 0.0, std, generator)
    order = np.argsort(_generator("sparse_", generator).random(data.shape), axis=0)
    np.put_along_axis(data, order[:zeros], 0, axis=0)
    return tensor


def xavier_uniform_(tensor: _T, gain: float = 1.0, generator: Generator | None = None) -> _T:
    """Fill from U(-bound, bound), bound = gain * sqrt(6 / (fan_in + fan_out)).

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", 2010.
    """
    fan_in, fan_out = _matrix("xavier_uniform_", tensor)
    bound = number("xavier_uniform_", "gain", gain) * math.sqrt(6 / max(fan_in + fan_out, 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: _T, gain: float = 1.0, generator: Generator | None = None) -> _T:
    """Fill from N(0, std), std = gain * sqrt(2 / (fan_in + fan_out)); Glorot 2010."""
    fan_in, fan_out = _matrix("xavier_normal_", tensor)
    std = number("xavier_normal_", "gain", gain) * math.sqrt(2 / max(fan_in + fan_out, 1))
    return normal_(tensor, 0.0, std, generator)


def _kaiming_std(name: str, tensor: Any, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{name}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = _matrix(name, tensor)[mode == "fan_out"]
    if not isinstance(nonlinearity, str):
        raise TypeError(f"{name}: nonlinearity must be a str, got {type(nonlinearity).__name__}")
    return calculate_gain(nonlinearity, number(name, "a", a)) / math.sqrt(max(fan, 1))


def kaiming_uniform_(
    tensor: _T,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> _T:
    """Fill from U(-bound, bound), bound = gain * sqrt(3 / fan).

    Parameters
    ----------
    tensor : Parameter, Tensor or ndarray, (out, in, *kernel)
    a : float
        The negative slope, for "leaky_relu".
    mode : str
        "fan_in" keeps the variance of the forward pass, "fan_out" of the backward pass.
    nonlinearity : str
        See :func:`calculate_gain`.

    Raises
    ------
    ValueError
        If the tensor has less than 2 dimensions, or a name is unknown.

    Notes
    -----
    Source: He et al., "Delving deep into rectifiers", 2015.
    """
    std = _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    bound = math.sqrt(3) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: _T,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> _T:
    """Fill from N(0, gain / sqrt(fan)); arguments as in :func:`kaiming_uniform_`."""
    std = _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, std, generator)


def orthogonal_(tensor: _T, gain: float = 1.0, generator: Generator | None = None) -> _T:
    """Fill so that rows (or columns, whichever are fewer) are orthogonal of length gain.

    A tensor of more dimensions counts as the matrix (shape[0], rest).
    Source: Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep
    linear neural networks", 2014.
    """
    data = _data("orthogonal_", tensor)
    _matrix("orthogonal_", tensor)
    gain = number("orthogonal_", "gain", gain)
    if data.size == 0:
        return tensor
    rows = data.shape[0]
    columns = data.size // rows
    tall = (max(rows, columns), min(rows, columns))
    q, r = np.linalg.qr(_generator("orthogonal_", generator).standard_normal(tall))
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    data[...] = gain * (q.T if rows < columns else q).reshape(data.shape)
    return tensor


def trunc_normal_(
    tensor: _T,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> _T:
    """Fill from N(mean, std) restricted to [a, b].

    The inverse of the distribution function is applied to uniform numbers, so that the
    number of draws is the size of the tensor.
    """
    data = _data("trunc_normal_", tensor)
    mean, std = number("trunc_normal_", "mean", mean), _checked_std("trunc_normal_", std)
    a, b = _interval("trunc_normal_", a, b)
    if std == 0:
        data[...] = min(max(mean, a), b)
        return tensor
    low, high = (0.5 * math.erfc((mean - bound) / (std * math.sqrt(2))) for bound in (a, b))
    draw = np.asarray(_generator("trunc_normal_", generator).random(data.shape))
    draw = low + (high - low) * draw
    data[...] = np.clip(mean + std * _inverse_normal(draw), a, b)
    return tensor


_CENTRE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_MIDDLE = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177,
     1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055,
     4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966,
     0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494,
     2.05319162663775882187, 1.0),
)  # fmt: skip
_TAIL = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386,
     0.026532189526576123093, 0.29656057182850489123, 1.7848265399172913358,
     5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5,
     7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531,
     0.59983220655588793769, 1.0),
)  # fmt: skip


def _inverse_normal(p: Array) -> Array:
    """Return x with Phi(x) = p; Wichura, algorithm AS 241 (PPND16), 1988."""
    q = p - 0.5
    t = np.sqrt(-np.log(np.clip(np.minimum(p, 1 - p), 1e-300, None)))
    centre = 0.180625 - q * q
    parts = [
        np.polyval(top, x) / np.polyval(bottom, x)
        for (top, bottom), x in ((_CENTRE, centre), (_MIDDLE, t - 1.6), (_TAIL, t - 5.0))
    ]
    outer = np.where(t <= 5, parts[1], parts[2])
    return np.where(np.abs(q) <= 0.425, q * parts[0], np.copysign(outer, q))
