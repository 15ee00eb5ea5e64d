"""Recurrent layers: RNN, LSTM and GRU."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.autograd import ArrayLike, Result
from fastnn.functional._args import flag
from fastnn.functional._recurrent import pair_of_states
from fastnn.nn._recurrent import Recurrent

__all__ = ["GRU", "LSTM", "RNN"]


class RNN(Recurrent):
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
    checkpoint_every : int, optional
        Keep only every k-th state for the gradient and compute the rest again: see
        :mod:`fastnn.functional.rnn`.

    Attributes
    ----------
    weight_ih_l[k], weight_hh_l[k], bias_ih_l[k], bias_hh_l[k] : Parameter
        And the same with the suffix ``_reverse``; shapes as in PyTorch.

    Notes
    -----
    Under ``no_grad`` the matrices are packed once and kept; while they are, their arrays are
    read-only. The optimizer, ``load_state_dict``, assigning ``.data`` and recording drop the packs.

    :func:`fastnn.nn.quantize_dynamic` makes a twin for inference with int8 or bfloat16 matrices.

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
        *,
        checkpoint_every: int | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype,
            checkpoint_every,
        )
        self.nonlinearity = nonlinearity

    def forward(
        self, input: ArrayLike, hx: ArrayLike = None, *, lengths: ArrayLike = None
    ) -> tuple[Result, Result]:
        """Return (output, h_n); hx is (layers * directions, B, H) or None.

        `input` is (T, B, I), (B, T, I), (T, I) or a PackedSequence, which comes back as one.
        """
        output, (h,) = self._forward(input, (hx,), lengths)
        return output, h

    def _cell(self) -> str:
        return self.nonlinearity


class GRU(Recurrent):
    """Gated recurrent units in one or more layers; see :func:`fastnn.functional.gru`.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
    bias, batch_first, dropout, bidirectional, dtype, checkpoint_every
        As in :class:`RNN`.
    linear_before_reset : bool
        Whether the reset gate comes behind the product with W_hn, as in PyTorch.

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
        *,
        linear_before_reset: bool = True,
        checkpoint_every: int | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype,
            checkpoint_every,
        )
        self.linear_before_reset = flag("GRU", "linear_before_reset", linear_before_reset)

    def forward(
        self, input: ArrayLike, hx: ArrayLike = None, *, lengths: ArrayLike = None
    ) -> tuple[Result, Result]:
        """Return (output, h_n); hx is (layers * directions, B, H) or None.

        `input` is (T, B, I), (B, T, I), (T, I) or a PackedSequence, which comes back as one.
        """
        output, (h,) = self._forward(input, (hx,), lengths)
        return output, h

    def _cell(self) -> str:
        return "gru" if self.linear_before_reset else "gru_reset_first"


class LSTM(Recurrent):
    """Long short-term memory in one or more layers; see :func:`fastnn.functional.lstm`.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
    bias, batch_first, dropout, bidirectional, dtype, checkpoint_every
        As in :class:`RNN`.
    proj_size : int
        Width P of the output where it is projected, 0 for no projection.
    peephole : bool
        Whether the gates see the cell.

    Attributes
    ----------
    weight_ih_l[k], weight_hh_l[k], bias_ih_l[k], bias_hh_l[k] : Parameter
        Gates in the order i, f, g, o; with the suffix ``_reverse`` for the other direction.
    weight_hr_l[k] : Parameter, shape (P, H), with a projection
    weight_peephole_l[k] : Parameter, shape (3 H,), of i, f and o

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

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: Any = np.float32,
        *,
        peephole: bool = False,
        checkpoint_every: int | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype,
            checkpoint_every,
            proj_size,
            flag("LSTM", "peephole", peephole),
        )
        self.peephole = bool(peephole)

    def forward(
        self,
        input: ArrayLike,
        hx: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        lengths: ArrayLike = None,
    ) -> tuple[Result, tuple[Result, Result]]:
        """Return (output, (h_n, c_n)); hx is a pair of (layers * directions, B, H) or None.

        With a projection h is P wide. `input` is (T, B, I), (B, T, I), (T, I) or a PackedSequence,
        which comes back as one.
        """
        output, (h, c) = self._forward(input, pair_of_states("LSTM", hx), lengths)
        return output, (h, c)

    def _cell(self) -> str:
        return "lstm"
