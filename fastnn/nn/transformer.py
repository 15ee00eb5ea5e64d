"""Transformer layers, and what their models need besides."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn.autograd import Array, ArrayLike, Result, array, is_grad_enabled
from fastnn.functional._args import natural
from fastnn.nn import init
from fastnn.nn._transformer_layer import (
    Activation,
    TransformerDecoderLayer,
    TransformerEncoderLayer,
)
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
