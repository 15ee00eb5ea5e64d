"""Single steps of recurrent layers, and the LSTM with layer normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn import _core
from fastnn.autograd import ArrayLike, Result, array, is_grad_enabled
from fastnn.functional._args import flag, natural
from fastnn.functional._recurrent import pair_of_states
from fastnn.functional.quantized import refuse_recording
from fastnn.nn import init
from fastnn.nn._recurrent import refuse_input
from fastnn.nn._recurrent_weights import packed_weights, reduced_repr, reduced_weights
from fastnn.nn.module import Module
from fastnn.nn.norm import LayerNorm
from fastnn.nn.parameter import empty

__all__ = ["GRUCell", "LSTMCell", "LayerNormLSTM", "RNNCell"]

_CELL_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr", "weight_peephole")


class _Cell(Module):
    """What the single-step cells share."""

    _gates = 1
    _reduced = False  # whether quantize_dynamic made it

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, dtype: Any = np.float32
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = natural(name, "input_size", input_size)
        self.hidden_size = natural(name, "hidden_size", hidden_size, 1)
        rows = self._gates * self.hidden_size
        biased = flag(name, "bias", bias)
        self.weight_ih = empty(name, (rows, self.input_size), dtype)
        self.weight_hh = empty(name, (rows, self.hidden_size), dtype)
        self.bias_ih = empty(name, (rows,), dtype) if biased else None
        self.bias_hh = empty(name, (rows,), dtype) if biased else None
        bound = 1 / math.sqrt(hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _weights(self) -> tuple[Any, ...]:
        """What packed_weights takes: of no use to most cells are a projection and peepholes."""
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh, None, None

    def _step(self, cell: str, input: Any, h: Any, c: Any) -> tuple[Any, Any]:
        """One step without recording, with weights that are packed and kept so."""
        x, name = array(input), type(self).__name__
        if x is None or x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            refuse_input(name, x, (1, 2), self.input_size)
        if self._reduced:
            refuse_recording(name, input, h, c)
            weights = reduced_weights(self._parameters, _CELL_WEIGHTS)
        else:
            weights = packed_weights(self._gates, *self._weights())
        result: tuple[Any, Any] = _core.rnn_step(name, cell, x, array(h), array(c), weights)
        return result

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        text += "" if self.bias_ih is not None else ", bias=False"
        return text + reduced_repr(self)


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
        if self._reduced or not is_grad_enabled():
            return self._step(self.nonlinearity, input, hx, None)[0]
        return F.rnn_cell(input, hx, *self._weights()[:4], nonlinearity=self.nonlinearity)


class GRUCell(_Cell):
    """One step of a gated recurrent unit; see :func:`fastnn.functional.gru_cell`.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    dtype : numpy dtype, optional
    linear_before_reset : bool
        Whether the reset gate comes behind the product with W_hn, as in PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> fastnn.nn.GRUCell(3, 4)(np.ones((2, 3), np.float32)).shape
    (2, 4)
    """

    _gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: Any = np.float32,
        *,
        linear_before_reset: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        self.linear_before_reset = flag("GRUCell", "linear_before_reset", linear_before_reset)

    def forward(self, input: ArrayLike, hx: ArrayLike = None) -> Result:
        if self._reduced or not is_grad_enabled():
            cell = "gru" if self.linear_before_reset else "gru_reset_first"
            return self._step(cell, input, hx, None)[0]
        return F.gru_cell(
            input, hx, *self._weights()[:4], linear_before_reset=self.linear_before_reset
        )

    def extra_repr(self) -> str:
        text = super().extra_repr()
        return text if self.linear_before_reset else text + ", linear_before_reset=False"


class LSTMCell(_Cell):
    """One step of long short-term memory; see :func:`fastnn.functional.lstm_cell`.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    dtype : numpy dtype, optional
    peephole : bool
        Whether the gates see the cell, by ``weight_peephole`` of shape (3 H,).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> h, c = fastnn.nn.LSTMCell(3, 4)(np.ones((2, 3), np.float32))
    >>> h.shape
    (2, 4)
    """

    _gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: Any = np.float32,
        *,
        peephole: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        peephole = flag("LSTMCell", "peephole", peephole)
        self.weight_peephole = empty("LSTMCell", (3 * hidden_size,), dtype) if peephole else None
        if self.weight_peephole is not None:
            bound = 1 / math.sqrt(hidden_size)
            init.uniform_(self.weight_peephole, -bound, bound)

    def forward(
        self, input: ArrayLike, hx: tuple[ArrayLike, ArrayLike] | None = None
    ) -> tuple[Result, Result]:
        if is_grad_enabled() and not self._reduced:
            return F.lstm_cell(input, hx, *self._weights()[:4], peephole=self.weight_peephole)
        h, c = pair_of_states("LSTMCell", hx)
        return self._step("lstm", input, h, c)

    def _weights(self) -> tuple[Any, ...]:
        biases = self.bias_ih, self.bias_hh
        return self.weight_ih, self.weight_hh, *biases, None, self.weight_peephole

    def extra_repr(self) -> str:
        text = super().extra_repr()
        return text if self.weight_peephole is None else text + ", peephole=True"


class LayerNormLSTM(Module):
    """LSTM of one layer and one direction with layer normalisation (Ba et al., 2016).

    See :func:`fastnn.functional.layer_norm_lstm`.

    Parameters
    ----------
    input_size, hidden_size : int
    batch_first : bool
    eps : float
        Added to every variance.
    dtype : numpy dtype, optional

    Attributes
    ----------
    weight_ih, weight_hh, bias : Parameter, shape (4 H, I), (4 H, H), (4 H,)
        Uniform in +-1/sqrt(hidden_size).
    norm_ih, norm_hh, norm_c : LayerNorm
        Of the input projection, of the recurrent product, and of the cell.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> output, (h, c) = fastnn.nn.LayerNormLSTM(3, 4)(np.ones((5, 2, 3), np.float32))
    >>> output.shape, h.shape
    ((5, 2, 4), (2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        batch_first: bool = False,
        eps: float = 1e-5,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        name = "LayerNormLSTM"
        self.input_size = natural(name, "input_size", input_size)
        self.hidden_size = natural(name, "hidden_size", hidden_size, 1)
        self.batch_first = flag(name, "batch_first", batch_first)
        self.eps = eps
        rows = 4 * self.hidden_size
        self.weight_ih = empty(name, (rows, self.input_size), dtype)
        self.weight_hh = empty(name, (rows, self.hidden_size), dtype)
        self.bias = empty(name, (rows,), dtype)
        bound = 1 / math.sqrt(hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)
        self.norm_ih = LayerNorm(rows, eps, dtype=dtype)
        self.norm_hh = LayerNorm(rows, eps, dtype=dtype)
        self.norm_c = LayerNorm(hidden_size, eps, dtype=dtype)

    def forward(
        self,
        input: ArrayLike,
        hx: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        lengths: ArrayLike = None,
    ) -> tuple[Result, tuple[Result, Result]]:
        """Return (output, (h_n, c_n)); hx is a pair of (B, H), or (H,) for a (T, I), or None."""
        norms = [(norm.weight, norm.bias) for norm in (self.norm_ih, self.norm_hh, self.norm_c)]
        return F.layer_norm_lstm(
            input,
            hx,
            self.weight_ih,
            self.weight_hh,
            self.bias,
            *norms,
            eps=self.eps,
            batch_first=self.batch_first,
            lengths=lengths,
        )

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        return text + ", batch_first=True" if self.batch_first else text
