"""What recurrent layers share: parameters, layers, directions."""

from __future__ import annotations

import math
from operator import attrgetter
from typing import Any

import fastnn.functional as F
from fastnn import _core
from fastnn.autograd import ArrayLike, Result, array, is_grad_enabled
from fastnn.functional._args import flag, integer, natural, probability, refuse_none
from fastnn.functional._recurrent import layer as recurrent_layer
from fastnn.functional.quantized import refuse_recording
from fastnn.nn import init
from fastnn.nn._recurrent_weights import packed_weights, reduced_repr, reduced_weights
from fastnn.nn.module import Module
from fastnn.nn.parameter import empty
from fastnn.nn.utils.rnn import PackedSequence, pad_packed_sequence
from fastnn.tensor import concatenate


class Recurrent(Module):
    """RNN, LSTM and GRU but for their cells."""

    _gates = 1
    _reduced = False  # whether quantize_dynamic made it

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        dtype: Any,
        checkpoint_every: int | None,
        proj_size: int = 0,
        peephole: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        input_size = natural(name, "input_size", input_size)
        hidden_size = natural(name, "hidden_size", hidden_size, 1)
        num_layers = natural(name, "num_layers", num_layers, 1)
        proj_size = integer(name, "proj_size", proj_size)
        dropout = probability(name, "dropout", dropout)
        bias = flag(name, "bias", bias)
        bidirectional = flag(name, "bidirectional", bidirectional)
        if checkpoint_every is not None:
            checkpoint_every = natural(name, "checkpoint_every", checkpoint_every, 1)
        if not 0 <= proj_size < hidden_size:
            raise ValueError(
                f"{name}: proj_size must be in 0..{hidden_size - 1} (less than hidden_size), "
                f"got {proj_size}"
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = flag(name, "batch_first", batch_first)
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self.checkpoint_every = checkpoint_every
        rows, output = self._gates * hidden_size, proj_size or hidden_size
        # Too many layers for the memory are refused before the first of them is made.
        empty(name, (num_layers, self._directions, rows, output + 4), dtype)
        # For each layer and direction the names of what F.layer takes, in its order.
        self._names: list[list[tuple[str, ...]]] = []
        self._weights: list[list[attrgetter[tuple[Any, ...]]]] = []
        for layer in range(num_layers):
            width = input_size if layer == 0 else output * self._directions
            shapes = {
                "weight_ih": (rows, width),
                "weight_hh": (rows, output),
                "bias_ih": (rows,) if bias else None,
                "bias_hh": (rows,) if bias else None,
                "weight_hr": (proj_size, hidden_size) if proj_size else None,
                "weight_peephole": (3 * hidden_size,) if peephole else None,
            }
            suffixes = [f"_l{layer}", f"_l{layer}_reverse"][: self._directions]
            self._names.append([tuple(key + suffix for key in shapes) for suffix in suffixes])
            for suffix in suffixes:
                for key, shape in shapes.items():
                    parameter = None if shape is None else empty(name, shape, dtype)
                    setattr(self, key + suffix, parameter)
            self._weights.append([attrgetter(*names) for names in self._names[layer]])
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def reset_parameters(self) -> None:
        """Draw every parameter uniformly from +-1/sqrt(hidden_size), as PyTorch does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _cell(self) -> str:
        """The cell's name in F.layer."""
        raise NotImplementedError

    def _check_states(self, states: tuple[Any, ...], x: Any) -> None:
        batch = () if x.ndim == 2 else (x.shape[0 if self.batch_first else 1],)
        sizes = (self.proj_size or self.hidden_size, self.hidden_size)
        for name, state, size in zip(("h_0", "c_0"), states, sizes):
            wanted = (self.num_layers * self._directions, *batch, size)
            if state is not None and array(state).shape != wanted:
                raise ValueError(
                    f"{type(self).__name__}: {name}.shape must be {wanted} "
                    f"(layers * directions, batch, size), got {array(state).shape}"
                )

    def _forward(
        self, input: Any, states: tuple[Any, ...], lengths: ArrayLike
    ) -> tuple[Result, tuple[Result, ...]]:
        """Run all layers; states and the returned final states have one entry a kind (h; h, c)."""
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise ValueError(f"{type(self).__name__}: a PackedSequence has its own lengths")
            padded, lengths = pad_packed_sequence(input, self.batch_first)
            output, finals = self._forward(padded, states, lengths)
            return input.repack(output, self.batch_first), finals
        x = array(input)
        if x is None or x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            refuse_input(type(self).__name__, x, (2, 3), self.input_size)
        if states[0] is not None or states[-1] is not None:
            self._check_states(states, x)
        if x.ndim == 3:
            return self._run_layers(input, states, lengths, self.batch_first)
        if lengths is not None:
            raise ValueError(f"{type(self).__name__}: lengths must be None for an unbatched input")
        one = tuple(None if s is None else s[:, None] for s in states)
        output, finals = self._run_layers(input[:, None], one, None, False)
        return output[:, 0], tuple(kind[:, 0] for kind in finals)

    def _run_layers(
        self, input: Any, states: tuple[Any, ...], lengths: Any, batch_first: bool
    ) -> tuple[Result, tuple[Result, ...]]:
        if self.num_layers == 1:
            output, h, c = self._run_layer(0, input, states, lengths, batch_first)
            return output, ((h,) if c is None else (h, c))
        finals = []
        d = self._directions
        for i in range(self.num_layers):
            own = tuple(None if s is None else s[i * d : i * d + d] for s in states)
            input, *final = self._run_layer(i, input, own, lengths, batch_first)
            finals.append(final[: len(states)])
            if self.dropout > 0 and i + 1 < self.num_layers:
                input = F.dropout(input, self.dropout, self.training)
        return input, tuple(concatenate(kind) for kind in zip(*finals))

    def _run_layer(
        self, i: int, input: Any, states: tuple[Any, ...], lengths: Any, batch_first: bool
    ) -> tuple[Any, Any, Any]:
        """Return (output, h_n, c_n) of layer i, c_n None unless an LSTM."""
        h0, c0 = states if len(states) == 2 else (states[0], None)
        name, cell, gates = type(self).__name__, self._cell(), self._gates
        if self._reduced:
            refuse_recording(name, input, h0, c0)
            weights = tuple([reduced_weights(self._parameters, n) for n in self._names[i]])
        elif is_grad_enabled():
            weights = tuple([given(self) for given in self._weights[i]])
            return recurrent_layer(
                name,
                cell,
                input,
                h0,
                c0,
                weights,
                False,
                batch_first,
                lengths,
                self.checkpoint_every,
            )
        else:
            weights = tuple([packed_weights(gates, *given(self)) for given in self._weights[i]])
        y, h, c, _ = _core.rnn_forward(
            name,
            cell,
            array(input),
            array(h0),
            array(c0),
            weights,
            False,
            batch_first,
            array(lengths),
            False,
        )
        return y, h, c

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0.0),
            ("bidirectional", False),
            ("proj_size", 0),
            ("peephole", False),
            ("linear_before_reset", True),
            ("checkpoint_every", None),
        ):
            if getattr(self, name, default) != default:
                text += f", {name}={getattr(self, name)}"
        return text + reduced_repr(self)


def refuse_input(name: str, x: Any, ranks: tuple[int, int], input_size: int) -> None:
    refuse_none(name, input=x)
    if x.ndim not in ranks:
        raise ValueError(
            f"{name}: input must have {ranks[0]} or {ranks[1]} dimensions, got shape {x.shape}"
        )
    raise ValueError(
        f"{name}: input.shape[-1] must be {input_size} (input_size), got {x.shape[-1]}"
    )
