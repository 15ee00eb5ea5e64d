"""Padding layers, with ``torch.nn``'s arguments."""

from __future__ import annotations

from typing import Any, ClassVar

import fastnn.functional as F
from fastnn.autograd import ArrayLike, Result
from fastnn.functional._args import ntuple
from fastnn.nn.module import Module

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]

Size = Any  # an int or a tuple of ints


class _Pad(Module):
    _dims: ClassVar[int]
    _mode: ClassVar[str]

    def __init__(self, padding: Size) -> None:
        super().__init__()
        self.padding = ntuple(type(self).__name__, "padding", padding, 2 * self._dims)

    def forward(self, input: ArrayLike) -> Result:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    _mode = "constant"

    def __init__(self, padding: Size, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: ArrayLike) -> Result:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Size) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(_ConstantPad):
    """A border of one value: :func:`fastnn.functional.pad`.

    Parameters
    ----------
    padding : int or tuple of 2 ints
        (left, right) of the last dimension.
    value : float

    Examples
    --------
    >>> import numpy as np
    >>> ConstantPad1d(1, 7.0)(np.ones((1, 2, 3))).shape
    (1, 2, 5)
    """

    _dims = 1


class ConstantPad2d(_ConstantPad):
    """A border of one value: :func:`fastnn.functional.pad`.

    Parameters
    ----------
    padding : int or tuple of 4 ints
        (left, right) of the last dimension, then of the one before it.
    value : float

    Examples
    --------
    >>> import numpy as np
    >>> ConstantPad2d(1, 7.0)(np.ones((1, 2, 3, 3))).shape
    (1, 2, 5, 5)
    """

    _dims = 2


class ConstantPad3d(_ConstantPad):
    """A border of one value: :func:`fastnn.functional.pad`.

    Parameters
    ----------
    padding : int or tuple of 6 ints
        (left, right) of the last dimension, then of the one before it.
    value : float

    Examples
    --------
    >>> import numpy as np
    >>> ConstantPad3d(1, 7.0)(np.ones((1, 2, 3, 3, 3))).shape
    (1, 2, 5, 5, 5)
    """

    _dims = 3


class ZeroPad1d(_ZeroPad):
    """A border of zeros: :func:`fastnn.functional.pad`.

    Parameters
    ----------
    padding : int or tuple of 2 ints
        (left, right) of the last dimension.

    Examples
    --------
    >>> import numpy as np
    >>> ZeroPad1d(1)(np.ones((1, 2, 3))).shape
    (1, 2, 5)
    """

    _dims = 1


class ZeroPad2d(_ZeroPad):
    """A border of zeros: :func:`fastnn.functional.pad`.

    Parameters
    ----------
    padding : int or tuple of 4 ints
        (left, right) of the last dimension, then of the one before it.

    Examples
    --------
    >>> import numpy as np
    >>> ZeroPad2d(1)(np.ones((1, 2, 3, 3))).shape
    (1, 2, 5, 5)
    """

    _dims = 2


class ZeroPad3d(_ZeroPad):
    """A border of zeros: :func:`fastnn.functional.pad`.

    Parameters
    ----------
    padding : int or tuple of 6 ints
        (left, right) of the last dimension, then of the one before it.

    Examples
    --------
    >>> import numpy as np
    >>> ZeroPad3d(1)(np.ones((1, 2, 3, 3, 3))).shape
    (1, 2, 5, 5, 5)
    """

    _dims = 3


class ReflectionPad1d(_Pad):
    """A border that mirrors the input at its edge: :func:`fastnn.functional.pad`.

    Parameters
    ----------
    padding : int or tuple of 2 ints
        (left, right) of the last dimension.

    Examples
    --------
    >>> import numpy as np
    >>> ReflectionPad1d(1)(np.ones((1, 2, 3))).shape
    (1, 2, 5)
    """

    _dims = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """A border that mirrors the input at its edge: :func:`fastnn.functional.pad`.

    Parameters
    ----------
    padding : int or tuple of 4 ints
        (left, right) of the last dimension, then of the one before it.

    Examples
    --------
    >>> import numpy as np
    >>> ReflectionPad2d(1)(np.ones((1, 2, 3, 3))).shape
    (1, 2, 5, 5)
    """

    _dims = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    """A border that mirrors the input at its edge: :func:`fastnn.functional.pad`.

    Parameters
    ----------
    padding : int or tuple of 6 ints
        (left, right) of the last dimension, then of the one before it.

    Examples
    --------
    >>> import numpy as np
    >>> ReflectionPad3d(1)(np.ones((1, 2, 3, 3, 3))).shape
    (1, 2, 5, 5, 5)
    """

    _dims = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """A border that repeats the edge: :func:`fastnn.functional.pad`.

    Parameters
    ----------
    padding : int or tuple of 2 ints
        (left, right) of the last dimension.

    Examples
    --------
    >>> import numpy as np
    >>> ReplicationPad1d(1)(np.ones((1, 2, 3))).shape
    (1, 2, 5)
    """

    _dims = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """A border that repeats the edge: :func:`fastnn.functional.pad`.

    Parameters
    ----------
    padding : int or tuple of 4 ints
        (left, right) of the last dimension, then of the one before it.

    Examples
    --------
    >>> import numpy as np
    >>> ReplicationPad2d(1)(np.ones((1, 2, 3, 3))).shape
    (1, 2, 5, 5)
    """

    _dims = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    """A border that repeats the edge: :func:`fastnn.functional.pad`.

    Parameters
    ----------
    padding : int or tuple of 6 ints
        (left, right) of the last dimension, then of the one before it.

    Examples
    --------
    >>> import numpy as np
    >>> ReplicationPad3d(1)(np.ones((1, 2, 3, 3, 3))).shape
    (1, 2, 5, 5, 5)
    """

    _dims = 3
    _mode = "replicate"


class CircularPad1d(_Pad):
    """A border from the input's other end: :func:`fastnn.functional.pad`.

    Parameters
    ----------
    padding : int or tuple of 2 ints
        (left, right) of the last dimension.

    Examples
    --------
    >>> import numpy as np
    >>> CircularPad1d(1)(np.ones((1, 2, 3))).shape
    (1, 2, 5)
    """

    _dims = 1
    _mode = "circular"


class CircularPad2d(_Pad):
    """A border from the input's other end: :func:`fastnn.functional.pad`.

    Parameters
    ----------
    padding : int or tuple of 4 ints
        (left, right) of the last dimension, then of the one before it.

    Examples
    --------
    >>> import numpy as np
    >>> CircularPad2d(1)(np.ones((1, 2, 3, 3))).shape
    (1, 2, 5, 5)
    """

    _dims = 2
    _mode = "circular"


class CircularPad3d(_Pad):
    """A border from the input's other end: :func:`fastnn.functional.pad`.

    Parameters
    ----------
    padding : int or tuple of 6 ints
        (left, right) of the last dimension, then of the one before it.

    Examples
    --------
    >>> import numpy as np
    >>> CircularPad3d(1)(np.ones((1, 2, 3, 3, 3))).shape
    (1, 2, 5, 5, 5)
    """

    _dims = 3
    _mode = "circular"
