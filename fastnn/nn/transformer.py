"""Transformer layers, and what their models need besides."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn.autograd import Array, ArrayLike, Result, array, is_grad_enabled
from fastnn.functional._args import natural
from fastnn.nn import init
from fastnn.nn.attention import MultiheadAttention
from fastnn.nn.container import ModuleList
from fastnn.nn.dropout import Dropout
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module, can_fuse
from fastnn.nn.norm import LayerNorm
from fastnn.nn.parameter import empty

__all__ = [
    "PositionalEncoding",
    "SwiGLU",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

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


class TransformerEncoder(Module):
    """A stack of copies of an encoder layer.

    Parameters
    ----------
    encoder_layer : TransformerEncoderLayer
    num_layers : int
    norm : Module, optional
        Applied at the end.
    enable_nested_tensor, mask_check : bool
        Not used; in PyTorch's signature.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import nn
    >>> encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), num_layers=2)
    >>> encoder(np.ones((5, 3, 8), np.float32)).shape
    (5, 3, 8)
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _copies("TransformerEncoder", encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        src: ArrayLike,
        mask: ArrayLike = None,
        src_key_padding_mask: ArrayLike = None,
        is_causal: bool | None = None,
    ) -> Result:
        is_causal = _is_causal(mask, is_causal)
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """A stack of copies of a decoder layer.

    Parameters
    ----------
    decoder_layer : TransformerDecoderLayer
    num_layers : int
    norm : Module, optional
        Applied at the end.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import nn
    >>> decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), num_layers=2)
    >>> decoder(np.ones((5, 3, 8), np.float32), np.ones((4, 3, 8), np.float32)).shape
    (5, 3, 8)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies("TransformerDecoder", decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: ArrayLike,
        memory: ArrayLike,
        tgt_mask: ArrayLike = None,
        memory_mask: ArrayLike = None,
        tgt_key_padding_mask: ArrayLike = None,
        memory_key_padding_mask: ArrayLike = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Result:
        is_causal = _is_causal(tgt_mask, tgt_is_causal)
        for layer in self.layers:
            tgt = layer(
                tgt,
                memory,
                tgt_mask,
                memory_mask,
                tgt_key_padding_mask,
                memory_key_padding_mask,
                is_causal,
                memory_is_causal,
            )
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """Encoder and decoder (Vaswani et al., "Attention Is All You Need", 2017).

    Parameters
    ----------
    d_model, nhead : int
    num_encoder_layers, num_decoder_layers : int
    dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, dtype
        As in :class:`TransformerEncoderLayer`.
    custom_encoder, custom_decoder : Module, optional
        Used instead of those that the other arguments describe.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import nn
    >>> model = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    >>> source, target = np.ones((3, 7, 8), np.float32), np.ones((3, 5, 8), np.float32)
    >>> model(source, target, tgt_is_causal=True).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        options = (
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

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*options), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*options), num_decoder_layers, norm()
        )
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for parameter in self.parameters():
            if parameter.data.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: ArrayLike,
        tgt: ArrayLike,
        src_mask: ArrayLike = None,
        tgt_mask: ArrayLike = None,
        memory_mask: ArrayLike = None,
        src_key_padding_mask: ArrayLike = None,
        tgt_key_padding_mask: ArrayLike = None,
        memory_key_padding_mask: ArrayLike = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Result:
        """Masks as in :class:`MultiheadAttention`: True is not seen."""
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt,
            memory,
            tgt_mask,
            memory_mask,
            tgt_key_padding_mask,
            memory_key_padding_mask,
            tgt_is_causal,
            memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: Any = np.float32) -> Array:
        """Return (sz, sz) with -inf above the diagonal and 0 elsewhere: a causal mask to add.

        Examples
        --------
        >>> Transformer.generate_square_subsequent_mask(2)
        array([[  0., -inf],
               [  0.,   0.]], dtype=float32)
        """
        return np.triu(np.full((sz, sz), -np.inf, dtype), k=1)


class PositionalEncoding(Module):
    r"""Add sines and cosines of the position, then drop out.

    Feature 2 i of position p gets :math:`\sin(p / 10000^{2i / d})` and feature 2 i + 1 the cosine
    (Vaswani et al., "Attention Is All You Need", 2017).

    Parameters
    ----------
    d_model : int
    dropout : float
    max_len : int
        The greatest length of an input.
    batch_first : bool
        Whether inputs are (N, L, E) instead of (L, N, E).
    dtype : numpy dtype

    Examples
    --------
    >>> import numpy as np
    >>> PositionalEncoding(2, dropout=0.0)(np.zeros((2, 1, 2), np.float32))[:, 0].round(3)
    array([[0.   , 1.   ],
           [0.841, 0.54 ]], dtype=float32)
    """

    pe: Array

    def __init__(
        self,
        d_model: int,
        dropout: float = 0.1,
        max_len: int = 5000,
        batch_first: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.batch_first = batch_first
        max_len = natural("PositionalEncoding", "max_len", max_len)
        d_model = natural("PositionalEncoding", "d_model", d_model)
        angle = np.arange(max_len)[:, None] * np.exp(
            np.arange(0, d_model, 2) * (-math.log(10000.0) / max(d_model, 1))
        )
        table = empty("PositionalEncoding", (max_len, d_model), dtype).data
        table[:, 0::2] = np.sin(angle)
        table[:, 1::2] = np.cos(angle[:, : d_model // 2])
        self.register_buffer("pe", table, persistent=False)

    def forward(self, input: ArrayLike) -> Result:
        shape = array(input).shape
        table = self.pe
        if len(shape) not in (2, 3) or shape[-1] != table.shape[1]:
            raise ValueError(
                "PositionalEncoding: input must have 2 or 3 dimensions, the last of size "
                f"{table.shape[1]}, got shape {shape}"
            )
        sequence_first = len(shape) == 3 and not self.batch_first
        length = shape[0] if sequence_first else shape[-2]
        if length > len(table):
            raise ValueError(
                f"PositionalEncoding: input must have at most {len(table)} positions (max_len), "
                f"got {length}"
            )
        encoding = table[:length, None] if sequence_first else table[:length]
        return self.dropout(input + encoding)


class SwiGLU(Module):
    """Feed-forward block ``down_proj(silu(gate_proj(x)) * up_proj(x))``.

    Source: Shazeer, "GLU Variants Improve Transformer", 2020; parameter names as in Llama.

    Parameters
    ----------
    in_features, hidden_features : int
    out_features : int, optional
        in_features if not given.
    bias : bool
    dtype : numpy dtype

    Examples
    --------
    >>> import numpy as np
    >>> SwiGLU(8, 20)(np.ones((2, 8), np.float32)).shape
    (2, 8)
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int | None = None,
        bias: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        self.gate_proj = Linear(in_features, hidden_features, bias, dtype=dtype)
        self.up_proj = Linear(in_features, hidden_features, bias, dtype=dtype)
        outs = in_features if out_features is None else out_features
        self.down_proj = Linear(hidden_features, outs, bias, dtype=dtype)

    def forward(self, input: ArrayLike) -> Result:
        if not is_grad_enabled() and can_fuse(self.gate_proj):
            gate: Any = self.gate_proj._infer(input, ("silu",))
        else:
            gate = F.silu(self.gate_proj(input))
        return self.down_proj(gate * self.up_proj(input))


def _copies(name: str, layer: Module, count: int) -> ModuleList:
    if not isinstance(layer, Module):
        kind = "encoder" if "Encoder" in name else "decoder"
        raise TypeError(f"{name}: {kind}_layer must be a Module, got {type(layer).__name__}")
    count = natural(name, "num_layers", count)
    return ModuleList([copy.deepcopy(layer) for _ in range(count)])


def _is_causal(mask: ArrayLike, is_causal: bool | None) -> bool:
    """Whether the mask is a causal one; `is_causal`, where given, is taken at its word."""
    if is_causal is not None or mask is None:
        return bool(is_causal)
    values = array(mask)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        return False
    above = np.triu(np.ones(values.shape, bool), k=1)
    causal = above if values.dtype == bool else np.where(above, -np.inf, 0.0)
    return bool((values == causal).all())
