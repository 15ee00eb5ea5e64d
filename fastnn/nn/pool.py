"""Pooling layers, thin over :mod:`fastnn.functional`, with ``torch.nn``'s arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import fastnn.functional as F
from fastnn.autograd import ArrayLike, Result
from fastnn.nn.module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]

Size = Any  # an int or a tuple of ints
Function = Callable[..., Result]


class _MaxPool(Module):
    _function: ClassVar[Function]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: ArrayLike) -> Result:
        return type(self)._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """Largest element of each window: :func:`fastnn.functional.max_pool1d`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int
        The stride is kernel_size by default.
    return_indices : bool
        Return (output, indices), as :class:`MaxUnpool1d` wants them.
    ceil_mode : bool

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool1d(3, stride=2)(np.zeros((20, 16, 50))).shape
    (20, 16, 24)
    """

    _function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """Largest element of each window: :func:`fastnn.functional.max_pool2d`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or tuple of two ints
        The stride is kernel_size by default.
    return_indices : bool
        Return (output, indices), as :class:`MaxUnpool2d` wants them.
    ceil_mode : bool

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool2d(3, stride=2, padding=1)(np.zeros((1, 64, 112, 112))).shape
    (1, 64, 56, 56)
    """

    _function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """Largest element of each window: :func:`fastnn.functional.max_pool3d`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or tuple of three ints
        The stride is kernel_size by default.
    return_indices : bool
        Return (output, indices), as :class:`MaxUnpool3d` wants them.
    ceil_mode : bool

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool3d(2)(np.zeros((1, 2, 4, 6, 8))).shape
    (1, 2, 2, 3, 4)
    """

    _function = staticmethod(F.max_pool3d)


class AvgPool1d(Module):
    """Mean of each window: :func:`fastnn.functional.avg_pool1d`.

    Parameters
    ----------
    kernel_size, stride, padding : int
        The stride is kernel_size by default.
    ceil_mode, count_include_pad : bool

    Examples
    --------
    >>> import numpy as np
    >>> AvgPool1d(3, stride=2)(np.ones((1, 1, 7)))
    array([[[1., 1., 1.]]])
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: ArrayLike) -> Result:
        return F.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(Module):
    _function: ClassVar[Function]

    def __init__(
        self,
        kernel_size: Size,
        stride: Size = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: ArrayLike) -> Result:
        return type(self)._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """Mean of each window: :func:`fastnn.functional.avg_pool2d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or tuple of two ints
        The stride is kernel_size by default.
    ceil_mode, count_include_pad : bool
    divisor_override : int, optional

    Examples
    --------
    >>> import numpy as np
    >>> AvgPool2d((3, 2), stride=(2, 1))(np.zeros((20, 16, 50, 32))).shape
    (20, 16, 24, 31)
    """

    _function = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """Mean of each window: :func:`fastnn.functional.avg_pool3d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or tuple of three ints
        The stride is kernel_size by default.
    ceil_mode, count_include_pad : bool
    divisor_override : int, optional

    Examples
    --------
    >>> import numpy as np
    >>> AvgPool3d(2)(np.zeros((1, 2, 4, 6, 8))).shape
    (1, 2, 2, 3, 4)
    """

    _function = staticmethod(F.avg_pool3d)


class _AdaptiveAvgPool(Module):
    _function: ClassVar[Function]

    def __init__(self, output_size: Size) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: ArrayLike) -> Result:
        return type(self)._function(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Mean of windows that divide the input: :func:`fastnn.functional.adaptive_avg_pool1d`.

    Parameters
    ----------
    output_size : int

    Examples
    --------
    >>> import numpy as np
    >>> AdaptiveAvgPool1d(5)(np.zeros((1, 64, 8))).shape
    (1, 64, 5)
    """

    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Mean of windows that divide the input: :func:`fastnn.functional.adaptive_avg_pool2d`.

    Parameters
    ----------
    output_size : int or None, or a tuple of two of them

    Examples
    --------
    >>> import numpy as np
    >>> AdaptiveAvgPool2d((None, 7))(np.zeros((1, 64, 10, 9))).shape
    (1, 64, 10, 7)
    """

    _function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Mean of windows that divide the input: :func:`fastnn.functional.adaptive_avg_pool3d`.

    Parameters
    ----------
    output_size : int or None, or a tuple of three of them

    Examples
    --------
    >>> import numpy as np
    >>> AdaptiveAvgPool3d(1)(np.ones((1, 2, 3, 4, 5))).ravel()
    array([1., 1.])
    """

    _function = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMaxPool(Module):
    _function: ClassVar[Function]

    def __init__(self, output_size: Size, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: ArrayLike) -> Result:
        return type(self)._function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Largest of windows that divide the input: :func:`fastnn.functional.adaptive_max_pool1d`.

    Parameters
    ----------
    output_size : int
    return_indices : bool

    Examples
    --------
    >>> import numpy as np
    >>> AdaptiveMaxPool1d(5)(np.zeros((1, 64, 8))).shape
    (1, 64, 5)
    """

    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Largest of windows that divide the input: :func:`fastnn.functional.adaptive_max_pool2d`.

    Parameters
    ----------
    output_size : int or None, or a tuple of two of them
    return_indices : bool

    Examples
    --------
    >>> import numpy as np
    >>> AdaptiveMaxPool2d((5, 7))(np.zeros((1, 64, 8, 9))).shape
    (1, 64, 5, 7)
    """

    _function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Largest of windows that divide the input: :func:`fastnn.functional.adaptive_max_pool3d`.

    Parameters
    ----------
    output_size : int or None, or a tuple of three of them
    return_indices : bool

    Examples
    --------
    >>> import numpy as np
    >>> AdaptiveMaxPool3d(1)(np.ones((1, 2, 3, 4, 5))).ravel()
    array([1., 1.])
    """

    _function = staticmethod(F.adaptive_max_pool3d)


class _FractionalMaxPool(Module):
    _function: ClassVar[Function]

    def __init__(
        self,
        kernel_size: Size,
        output_size: Size = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: ArrayLike | None = None,
    ) -> None:
        super().__init__()
        if (output_size is None) == (output_ratio is None):
            raise ValueError(
                f"{type(self).__name__}: either output_size or output_ratio must be given, "
                "and not both"
            )
        self.kernel_size = kernel_size
        self.output_size = output_size
        self.output_ratio = output_ratio
        self.return_indices = return_indices
        self._random_samples = _random_samples

    def forward(self, input: ArrayLike) -> Result:
        return type(self)._function(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            self._random_samples,
        )

    def extra_repr(self) -> str:
        if self.output_ratio is not None:
            return f"kernel_size={self.kernel_size}, output_ratio={self.output_ratio}"
        return f"kernel_size={self.kernel_size}, output_size={self.output_size}"


class FractionalMaxPool2d(_FractionalMaxPool):
    """Largest of randomly placed windows: :func:`fastnn.functional.fractional_max_pool2d`.

    Parameters
    ----------
    kernel_size : int or tuple of two ints
    output_size : int or tuple of two ints, optional
    output_ratio : float or tuple of two floats, optional
        Either it or `output_size` has to be given.
    return_indices : bool

    Examples
    --------
    >>> import numpy as np
    >>> FractionalMaxPool2d(3, output_ratio=0.5)(np.zeros((20, 16, 50, 32))).shape
    (20, 16, 25, 16)
    """

    _function = staticmethod(F.fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPool):
    """Largest of randomly placed windows: :func:`fastnn.functional.fractional_max_pool3d`.

    Parameters
    ----------
    kernel_size : int or tuple of three ints
    output_size : int or tuple of three ints, optional
    output_ratio : float or tuple of three floats, optional
        Either it or `output_size` has to be given.
    return_indices : bool

    Examples
    --------
    >>> import numpy as np
    >>> FractionalMaxPool3d(2, output_size=3)(np.zeros((1, 2, 8, 8, 8))).shape
    (1, 2, 3, 3, 3)
    """

    _function = staticmethod(F.fractional_max_pool3d)


class _LPPool(Module):
    _function: ClassVar[Function]

    def __init__(
        self, norm_type: float, kernel_size: Size, stride: Size = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: ArrayLike) -> Result:
        return type(self)._function(
            input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode
        )

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """Power average of each window: :func:`fastnn.functional.lp_pool1d`.

    Parameters
    ----------
    norm_type : float
        The exponent, finite and not 0.
    kernel_size, stride : int
        The stride is kernel_size by default.
    ceil_mode : bool

    Examples
    --------
    >>> import numpy as np
    >>> LPPool1d(2, 3, stride=2)(np.zeros((20, 16, 50))).shape
    (20, 16, 24)
    """

    _function = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    """Power average of each window: :func:`fastnn.functional.lp_pool2d`.

    Parameters
    ----------
    norm_type : float
        The exponent, finite and not 0.
    kernel_size, stride : int or tuple of two ints
        The stride is kernel_size by default.
    ceil_mode : bool

    Examples
    --------
    >>> import numpy as np
    >>> LPPool2d(1.2, (3, 2), stride=(2, 1))(np.zeros((20, 16, 50, 32))).shape
    (20, 16, 24, 31)
    """

    _function = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPool):
    """Power average of each window: :func:`fastnn.functional.lp_pool3d`.

    Parameters
    ----------
    norm_type : float
        The exponent, finite and not 0.
    kernel_size, stride : int or tuple of three ints
        The stride is kernel_size by default.
    ceil_mode : bool

    Examples
    --------
    >>> import numpy as np
    >>> LPPool3d(2, 2)(np.zeros((1, 2, 4, 6, 8))).shape
    (1, 2, 2, 3, 4)
    """

    _function = staticmethod(F.lp_pool3d)


class _MaxUnpool(Module):
    _function: ClassVar[Function]

    def __init__(self, kernel_size: Size, stride: Size = None, padding: Size = 0) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding

    def forward(self, input: ArrayLike, indices: ArrayLike, output_size: Any = None) -> Result:
        return type(self)._function(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """The partial inverse of :class:`MaxPool1d`: :func:`fastnn.functional.max_unpool1d`.

    Parameters
    ----------
    kernel_size, stride, padding : int
        The stride is kernel_size by default.

    Examples
    --------
    >>> import numpy as np
    >>> output, indices = MaxPool1d(2, return_indices=True)(np.array([[1.0, 2.0, 4.0, 3.0]]))
    >>> MaxUnpool1d(2)(output, indices)
    array([[0., 2., 4., 0.]])
    """

    _function = staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """The partial inverse of :class:`MaxPool2d`: :func:`fastnn.functional.max_unpool2d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or tuple of two ints
        The stride is kernel_size by default.

    Examples
    --------
    >>> import numpy as np
    >>> output, indices = MaxPool2d(2, return_indices=True)(np.ones((1, 1, 5, 5)))
    >>> MaxUnpool2d(2)(output, indices, output_size=(1, 1, 5, 5)).shape
    (1, 1, 5, 5)
    """

    _function = staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """The partial inverse of :class:`MaxPool3d`: :func:`fastnn.functional.max_unpool3d`.

    Parameters
    ----------
    kernel_size, stride, padding : int or tuple of three ints
        The stride is kernel_size by default.

    Examples
    --------
    >>> import numpy as np
    >>> output, indices = MaxPool3d(2, return_indices=True)(np.ones((1, 1, 4, 4, 4)))
    >>> float(MaxUnpool3d(2)(output, indices).sum())
    8.0
    """

    _function = staticmethod(F.max_unpool3d)
