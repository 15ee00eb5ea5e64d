"""Recurrent layers: RNN, LSTM, GRU and their single-step cells."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn.autograd import ArrayLike, Result, array
from fastnn.nn import init
from fastnn.nn.module import Module, Parameter
from fastnn.tensor import concatenate, stack

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]


class _Recurrent(Module):
    """What RNN, LSTM and GRU share: parameters, layers, directions."""

    _gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        for key, value in (("hidden_size", hidden_size), ("num_layers", num_layers)):
            if value < 1:
                raise ValueError(f"{name}: {key} must be >= 1, got {value}")
        if not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout must be in [0, 1], got {dropout}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * self._directions
            for suffix in self._suffixes(layer):
                rows = self._gates * hidden_size
                shapes = {"weight_ih": (rows, width), "weight_hh": (rows, hidden_size)}
                if bias:
                    shapes.update({"bias_ih": (rows,), "bias_hh": (rows,)})  # type: ignore[dict-item]
                for key, shape in shapes.items():
                    setattr(self, key + suffix, Parameter(np.empty(shape, dtype)))
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self._directions]

    def reset_parameters(self) -> None:
        """Draw every parameter uniformly from +-1/sqrt(hidden_size), as PyTorch does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _weights(self, suffix: str) -> tuple[Any, ...]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return tuple(getattr(self, name + suffix, None) for name in names)

    def _check_states(self, states: tuple[Any, ...], x: Any) -> None:
        batch = () if x.ndim == 2 else (x.shape[0 if self.batch_first else 1],)
        wanted = (self.num_layers * self._directions, *batch, self.hidden_size)
        for name, state in zip(("h_0", "c_0"), states):
            if state is not None and array(state).shape != wanted:
                raise ValueError(
                    f"{type(self).__name__}: {name}.shape must be {wanted} "
                    f"(layers * directions, batch, hidden_size), got {array(state).shape}"
                )

    def _forward(
        self, input: ArrayLike, states: tuple[Any, ...], lengths: ArrayLike
    ) -> tuple[Result, tuple[Result, ...]]:
        """Run all layers; states and the returned final states have one entry a kind (h; h, c)."""
        x = array(input)
        if x.ndim not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: input must have 2 or 3 dimensions, got shape {x.shape}"
            )
        self._check_states(states, x)
        finals: list[tuple[Result, ...]] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                i = layer * self._directions + direction
                start = tuple(None if s is None else s[i] for s in states)
                options = {
                    "reverse": direction == 1,
                    "batch_first": self.batch_first and x.ndim == 3,
                    "lengths": lengths,
                }
                output, final = self._layer(input, start, self._weights(suffix), options)
                outputs.append(output)
                finals.append(final)
            input = outputs[0] if len(outputs) == 1 else concatenate(outputs, axis=-1)
            if self.dropout > 0 and layer + 1 < self.num_layers:
                input = F.dropout(input, self.dropout, self.training)
        return input, tuple(stack(kind) for kind in zip(*finals))

    def _layer(
        self, input: Any, start: tuple[Any, ...], weights: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[Result, tuple[Result, ...]]:
        raise NotImplementedError

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0.0),
            ("bidirectional", False),
        ):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(_Recurrent):
    """Elman network of one or more layers; see :func:`fastnn.functional.rnn`.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
    nonlinearity : {"tanh", "relu"}
    bias : bool
    batch_first : bool
        Whether input and output are (B, T, ...) instead of (T, B, ...).
    dropout : float
        Probability of zeroing an output between layers, in training.
    bidirectional : bool
    dtype : numpy dtype, optional

    Attributes
    ----------
    weight_ih_l[k], weight_hh_l[k], bias_ih_l[k], bias_hh_l[k] : Parameter
        And the same with the suffix ``_reverse``; shapes as in PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.RNN(3, 4, num_layers=2)
    >>> output, h = layer(np.ones((5, 2, 3), np.float32))
    >>> output.shape, h.shape
    ((5, 2, 4), (2, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype
        )
        self.nonlinearity = nonlinearity

    def forward(
        self, input: ArrayLike, hx: ArrayLike = None, *, lengths: ArrayLike = None
    ) -> tuple[Result, Result]:
        """Return (output, h_n); hx is (layers * directions, B, H) or None."""
        output, (h,) = self._forward(input, (hx,), lengths)
        return output, h

    def _layer(
        self, input: Any, start: tuple[Any, ...], weights: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[Result, tuple[Result, ...]]:
        y, h = F.rnn(input, start[0], *weights, nonlinearity=self.nonlinearity, **options)
        return y, (h,)


class GRU(_Recurrent):
    """Gated recurrent units in one or more layers; see :func:`fastnn.functional.gru`.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
    bias, batch_first, dropout, bidirectional, dtype
        As in :class:`RNN`.

    Attributes
    ----------
    weight_ih_l[k], weight_hh_l[k], bias_ih_l[k], bias_hh_l[k] : Parameter
        Gates in the order r, z, n; with the suffix ``_reverse`` for the other direction.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.GRU(3, 4, bidirectional=True)
    >>> output, h = layer(np.ones((5, 2, 3), np.float32))
    >>> output.shape, h.shape
    ((5, 2, 8), (2, 2, 4))
    """

    _gates = 3

    def forward(
        self, input: ArrayLike, hx: ArrayLike = None, *, lengths: ArrayLike = None
    ) -> tuple[Result, Result]:
        """Return (output, h_n); hx is (layers * directions, B, H) or None."""
        output, (h,) = self._forward(input, (hx,), lengths)
        return output, h

    def _layer(
        self, input: Any, start: tuple[Any, ...], weights: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[Result, tuple[Result, ...]]:
        y, h = F.gru(input, start[0], *weights, **options)
        return y, (h,)


class LSTM(_Recurrent):
    """Long short-term memory in one or more layers; see :func:`fastnn.functional.lstm`.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
    bias, batch_first, dropout, bidirectional, dtype
        As in :class:`RNN`.

    Attributes
    ----------
    weight_ih_l[k], weight_hh_l[k], bias_ih_l[k], bias_hh_l[k] : Parameter
        Gates in the order i, f, g, o; with the suffix ``_reverse`` for the other direction.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.LSTM(3, 4, batch_first=True)
    >>> output, (h, c) = layer(np.ones((2, 5, 3), np.float32), lengths=np.array([5, 2]))
    >>> output.shape, h.shape
    ((2, 5, 4), (1, 2, 4))
    """

    _gates = 4

    def forward(
        self,
        input: ArrayLike,
        hx: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        lengths: ArrayLike = None,
    ) -> tuple[Result, tuple[Result, Result]]:
        """Return (output, (h_n, c_n)); hx is a pair of (layers * directions, B, H) or None."""
        if hx is not None and (not isinstance(hx, (tuple, list)) or len(hx) != 2):
            raise TypeError(f"LSTM: hx must be a pair (h_0, c_0) or None, got {type(hx).__name__}")
        output, (h, c) = self._forward(input, (None, None) if hx is None else tuple(hx), lengths)
        return output, (h, c)

    def _layer(
        self, input: Any, start: tuple[Any, ...], weights: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[Result, tuple[Result, ...]]:
        return F.lstm(input, (start[0], start[1]), *weights, **options)


class _Cell(Module):
    """What the single-step cells share."""

    _gates = 1

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, dtype: Any = np.float32
    ) -> None:
        super().__init__()
        if hidden_size < 1:
            raise ValueError(f"{type(self).__name__}: hidden_size must be >= 1, got {hidden_size}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        rows = self._gates * hidden_size
        self.weight_ih = Parameter(np.empty((rows, input_size), dtype))
        self.weight_hh = Parameter(np.empty((rows, hidden_size), dtype))
        self.bias_ih = Parameter(np.empty(rows, dtype)) if bias else None
        self.bias_hh = Parameter(np.empty(rows, dtype)) if bias else None
        bound = 1 / math.sqrt(hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _weights(self) -> tuple[Any, ...]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias_ih is not None else text + ", bias=False"


class RNNCell(_Cell):
    """One step of an Elman network; see :func:`fastnn.functional.rnn_cell`.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    nonlinearity : {"tanh", "relu"}
    dtype : numpy dtype, optional

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> fastnn.nn.RNNCell(3, 4)(np.ones((2, 3), np.float32)).shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: Any = np.float32,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"RNNCell: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}"
            )
        super().__init__(input_size, hidden_size, bias, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: ArrayLike, hx: ArrayLike = None) -> Result:
        return F.rnn_cell(input, hx, *self._weights(), nonlinearity=self.nonlinearity)


class GRUCell(_Cell):
    """One step of a gated recurrent unit; see :func:`fastnn.functional.gru_cell`.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    dtype : numpy dtype, optional

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> fastnn.nn.GRUCell(3, 4)(np.ones((2, 3), np.float32)).shape
    (2, 4)
    """

    _gates = 3

    def forward(self, input: ArrayLike, hx: ArrayLike = None) -> Result:
        return F.gru_cell(input, hx, *self._weights())


class LSTMCell(_Cell):
    """One step of long short-term memory; see :func:`fastnn.functional.lstm_cell`.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    dtype : numpy dtype, optional

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> h, c = fastnn.nn.LSTMCell(3, 4)(np.ones((2, 3), np.float32))
    >>> h.shape
    (2, 4)
    """

    _gates = 4

    def forward(
        self, input: ArrayLike, hx: tuple[ArrayLike, ArrayLike] | None = None
    ) -> tuple[Result, Result]:
        return F.lstm_cell(input, hx, *self._weights())
