"""One layer of a Transformer's encoder or decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn.autograd import ArrayLike, Result, array, is_grad_enabled
from fastnn.nn.attention import MultiheadAttention
from fastnn.nn.dropout import Dropout
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module, can_fuse
from fastnn.nn.norm import LayerNorm

__all__ = ["Activation", "TransformerDecoderLayer", "TransformerEncoderLayer"]

Activation = Callable[[Any], Any]


# Activations that a Linear applies itself.
_NATIVE: dict[Any, tuple[str, ...]] = {F.relu: ("relu",), F.gelu: ("gelu",)}


class _Layer(Module):
    """What both kinds of layer share: attention, the feed-forward block, a norm for each of them.

    Parts are registered in PyTorch's order, by which optimizers number parameters.
    """

    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm
    norm3: LayerNorm
    dropout1: Dropout
    dropout2: Dropout
    dropout3: Dropout

    def __init__(
        self,
        norms: int,
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        dropout: float,
        activation: str | Activation,
        layer_norm_eps: float,
        batch_first: bool,
        norm_first: bool,
        bias: bool,
        dtype: Any,
    ) -> None:
        super().__init__()
        if isinstance(activation, str):
            if activation not in ("relu", "gelu"):
                raise ValueError(
                    f"{type(self).__name__}: activation must be 'relu', 'gelu' or callable, got "
                    f"{activation!r}"
                )
            activation = F.relu if activation == "relu" else F.gelu
        self.norm_first = norm_first
        for name in ("self_attn", "multihead_attn")[: norms - 1]:
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype
            )
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype)
        for i in range(1, norms + 1):
            setattr(self, f"norm{i}", LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
        for i in range(1, norms + 1):
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.activation = activation

    def _sublayer(self, x: Any, norm: Module, block: Callable[[Any, Any], Any]) -> Any:
        """Add a block's result, and normalise before or after; block(y, x) returns x + f(y)."""
        return block(norm(x), x) if self.norm_first else norm(block(x, x))

    def _add(self, x: Any, residual: Any, layer: Module, dropout: Module) -> Any:
        """Return residual + dropout(layer(x)), in one kernel where only inference is wanted."""
        if self._infers() and can_fuse(layer):
            plain = array(residual)
            added = plain.reshape(*array(x).shape[:-1], plain.shape[-1])
            return layer._infer(x, None, added)  # type: ignore[attr-defined]
        return residual + dropout(layer(x))

    def _infers(self) -> bool:
        return not self.training and not is_grad_enabled()

    def _feed_forward(self, x: Any, residual: Any, dropout: Module) -> Any:
        native = _NATIVE.get(self.activation)
        if self._infers() and can_fuse(self.linear1) and native is not None:
            hidden = self.linear1._infer(x, native)
        else:
            hidden = self.dropout(self.activation(self.linear1(x)))
        return self._add(hidden, residual, self.linear2, dropout)

    def _attend(
        self,
        attention: Module,
        dropout: Module,
        query: Any,
        memory: Any,
        residual: Any,
        mask: Any,
        padding: Any,
        is_causal: bool,
    ) -> Any:
        options = {
            "attn_mask": mask,
            "key_padding_mask": padding,
            "need_weights": False,
            "is_causal": is_causal,
        }
        if type(attention) is not MultiheadAttention:
            return residual + dropout(attention(query, memory, memory, **options)[0])
        out_proj = attention.out_proj
        return attention._attend(
            lambda heads: self._add(heads, residual, out_proj, dropout),
            (query, memory, memory),
            **options,
        )[0]


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward block, each with dropout, a sum and a LayerNorm.

    Source: Vaswani et al., "Attention Is All You Need", 2017; for norm_first Xiong et al., "On
    Layer Normalization in the Transformer Architecture", 2020.

    Parameters
    ----------
    d_model, nhead : int
        Features, and heads of attention.
    dim_feedforward : int
        Features between the two linear maps.
    dropout : float
    activation : "relu", "gelu" or callable
    layer_norm_eps : float
    batch_first : bool
        Whether arrays are (N, L, E) instead of (L, N, E).
    norm_first : bool
        Whether the norms come before the blocks instead of after the sums.
    bias : bool
    dtype : numpy dtype
        float32 (default) or float64.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    >>> with fastnn.no_grad():
    ...     layer(np.ones((3, 5, 8), np.float32)).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(
            2,
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
            bias,
            dtype,
        )

    def forward(
        self,
        src: ArrayLike,
        src_mask: ArrayLike = None,
        src_key_padding_mask: ArrayLike = None,
        is_causal: bool = False,
    ) -> Result:
        """Masks as in :class:`MultiheadAttention`: True is not seen. With is_causal, src_mask may
        be left out.
        """

        def attend(x: Any, residual: Any) -> Any:
            return self._attend(
                self.self_attn, self.dropout1, x, x, residual, src_mask, src_key_padding_mask,
                is_causal,
            )  # fmt: skip

        x = self._sublayer(src, self.norm1, attend)
        return self._sublayer(x, self.norm2, lambda y, x: self._feed_forward(y, x, self.dropout2))


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention over an encoder's output and a feed-forward block.

    Parameters
    ----------
    d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, \
bias, dtype
        As in :class:`TransformerEncoderLayer`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    >>> target, memory = np.ones((3, 5, 8), np.float32), np.ones((3, 7, 8), np.float32)
    >>> layer(target, memory, tgt_is_causal=True).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(
            3,
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
            bias,
            dtype,
        )

    def forward(
        self,
        tgt: ArrayLike,
        memory: ArrayLike,
        tgt_mask: ArrayLike = None,
        memory_mask: ArrayLike = None,
        tgt_key_padding_mask: ArrayLike = None,
        memory_key_padding_mask: ArrayLike = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Result:
        """Masks as in :class:`MultiheadAttention`: True is not seen."""

        def attend(x: Any, residual: Any) -> Any:
            return self._attend(
                self.self_attn, self.dropout1, x, x, residual, tgt_mask, tgt_key_padding_mask,
                tgt_is_causal,
            )  # fmt: skip

        def attend_memory(x: Any, residual: Any) -> Any:
            return self._attend(
                self.multihead_attn, self.dropout2, x, memory, residual, memory_mask,
                memory_key_padding_mask, memory_is_causal,
            )  # fmt: skip

        x = self._sublayer(tgt, self.norm1, attend)
        x = self._sublayer(x, self.norm2, attend_memory)
        return self._sublayer(x, self.norm3, lambda y, x: self._feed_forward(y, x, self.dropout3))
