"""Layers that look up rows of a trained table."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastnn.functional as F
from fastnn.autograd import Array, ArrayLike, Result, array
from fastnn.functional._args import flag, integer, natural
from fastnn.nn import init
from fastnn.nn.module import Module, Parameter
from fastnn.nn.parameter import empty

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Module):
    """The table that both layers have."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        max_norm: float | None,
        norm_type: float,
        scale_grad_by_freq: bool,
        sparse: bool,
        weight: ArrayLike,
        freeze: bool,
        dtype: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if flag(name, "sparse", sparse):
            raise ValueError(f"{name}: sparse must be False: gradients are dense")
        num_embeddings = natural(name, "num_embeddings", num_embeddings)
        embedding_dim = natural(name, "embedding_dim", embedding_dim)
        if padding_idx is not None:
            padding_idx = integer(name, "padding_idx", padding_idx)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(
                f"{name}: padding_idx must be in {-num_embeddings}..{num_embeddings - 1}, "
                f"got {padding_idx}"
            )
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        if weight is None:
            self.weight = empty(name, (num_embeddings, embedding_dim), dtype)
            self.weight.requires_grad = not flag(name, "_freeze", freeze)
            self.reset_parameters()
            return
        given = array(weight)
        if given.shape != (num_embeddings, embedding_dim):
            raise ValueError(
                f"{name}: _weight.shape must be {(num_embeddings, embedding_dim)}, "
                f"got {given.shape}"
            )
        self.weight = Parameter(given, not freeze)

    def reset_parameters(self) -> None:
        """Draw the table from the normal distribution; the padding row becomes zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.drop_packs()
            self.weight.data[self.padding_idx] = 0

    def _options(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            text += f", scale_grad_by_freq={self.scale_grad_by_freq}"
        return text


def _matrix(name: str, embeddings: ArrayLike) -> Array:
    table: Array = array(embeddings)
    if table.ndim != 2:
        raise ValueError(f"{name}: embeddings must have 2 dimensions, got shape {table.shape}")
    return table


class Embedding(_Table):
    """Rows of a trained table by their numbers: :func:`fastnn.functional.embedding`.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        This row starts at zero and gets no gradient.
    max_norm, norm_type, scale_grad_by_freq, sparse
        See the function.
    dtype : numpy dtype, optional
        float32 (default) or float64.

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)
        Normal with mean 0 and variance 1.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> fastnn.nn.Embedding(10, 3)(np.array([[1, 2, 4, 5]])).shape
    (1, 4, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: ArrayLike = None,
        _freeze: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight,
            _freeze,
            dtype,
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings: ArrayLike,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """Make a layer from a table (rows, dim); by default it is not trained."""
        table = _matrix(cls.__name__, embeddings)
        rows, dim = table.shape
        return cls(
            rows,
            dim,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight=table,
            _freeze=freeze,
        )

    def forward(self, input: ArrayLike) -> Result:
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return self._options() + padding


class EmbeddingBag(_Table):
    """Sums, means or maxima of rows: :func:`fastnn.functional.embedding_bag`.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    mode : {"mean", "sum", "max"}
    max_norm, norm_type, scale_grad_by_freq, sparse, include_last_offset, padding_idx
        See the function.
    dtype : numpy dtype, optional
        float32 (default) or float64.

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)
        Normal with mean 0 and variance 1.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: ArrayLike = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight,
            False,
            dtype,
        )
        self.mode = mode
        self.include_last_offset = include_last_offset

    @classmethod
    def from_pretrained(
        cls,
        embeddings: ArrayLike,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """Make a layer from a table (rows, dim); by default it is not trained."""
        table = _matrix(cls.__name__, embeddings)
        rows, dim = table.shape
        layer = cls(
            rows,
            dim,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            mode,
            sparse,
            table,
            include_last_offset,
            padding_idx,
        )
        layer.weight.requires_grad = not freeze
        return layer

    def forward(
        self, input: ArrayLike, offsets: ArrayLike = None, per_sample_weights: ArrayLike = None
    ) -> Result:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self._options()}, mode={self.mode!r}{padding}"
