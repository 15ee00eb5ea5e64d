"""One recurrent layer on the tape, in one or two directions, with or without checkpoints."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import _core
from fastnn.autograd import Array, Gradients, TensorBase, array, record
from fastnn.functional._args import integer, recorded


def pair_of_states(op: str, hx: Any) -> tuple[Any, Any]:
    """Return (h_0, c_0) of an LSTM's `hx`."""
    if hx is None:
        return None, None
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        raise TypeError(f"{op}: hx must be a pair (h_0, c_0) or None, got {type(hx).__name__}")
    return hx[0], hx[1]


def lengthen(value: Any, axis: int) -> Any:
    """Insert an axis of length 1; Tensors stay Tensors."""
    if value is None:
        return None
    return value.unsqueeze(axis) if isinstance(value, TensorBase) else np.expand_dims(value, axis)  # type: ignore[attr-defined]


def layer(
    op: str,
    cell: str,
    input: Any,
    h0: Any,
    c0: Any,
    weights: tuple[tuple[Any, ...], ...],
    reverse: bool,
    batch_first: bool,
    lengths: Any,
    checkpoint_every: int | None,
) -> tuple[Any, Any, Any]:
    """Run one layer in one direction, or in two side by side.

    Parameters
    ----------
    op : str
        The operation's name in messages.
    cell : {"lstm", "gru", "gru_reset_first", "tanh", "relu"}
    input : array or Tensor, shape (T, B, I) or (B, T, I)
    h0, c0 : array or Tensor, shape (directions, B, size), or None
    weights : a tuple (w_ih, w_hh, b_ih, b_hh, w_hr, peephole) for each direction
        Of two, the second runs from each sequence's last step to its first.
    reverse, batch_first, lengths, checkpoint_every
        As in :func:`lstm`; `reverse` is for a single direction.

    Returns
    -------
    output : shape (T, B, directions * size)
    h_n, c_n : shape (directions, B, size); c_n is None unless an LSTM
    """
    inputs = (input, h0, c0, *(w for direction in weights for w in direction))
    call = _Call(op, cell, len(weights), reverse, batch_first, array(lengths))
    x, h_in, c_in = array(input), array(h0), array(c0)
    arrays = tuple(tuple(map(array, direction)) for direction in weights)
    if checkpoint_every is not None:
        checkpoint_every = integer(op, "checkpoint_every", checkpoint_every)
        if checkpoint_every < 1:
            raise ValueError(f"{op}: checkpoint_every must be >= 1, got {checkpoint_every}")
    if not recorded(*inputs):
        y, h_n, c_n, _ = call.forward(x, h_in, c_in, arrays, False)
        return y, h_n, c_n
    steps = x.shape[1 if batch_first else 0] if x.ndim == 3 else 0
    if checkpoint_every is not None and checkpoint_every < steps:
        results, backward = call.checkpointed(x, h_in, c_in, arrays, checkpoint_every)
    else:
        *results, saved = call.forward(x, h_in, c_in, arrays, True)

        def backward(grads: Any, needs: tuple[bool, ...]) -> Gradients:
            return call.backward(x, h_in, c_in, arrays, results[0], saved, grads, needs)

    if results[2] is None:
        y, h_n = record(tuple(results[:2]), inputs, backward, name=op)
        return y, h_n, None
    y, h_n, c_n = record(tuple(results), inputs, backward, name=op)
    return y, h_n, c_n


class _Call:
    """One layer's options, and its kernels' calls."""

    def __init__(
        self,
        op: str,
        cell: str,
        directions: int,
        reverse: bool,
        batch_first: bool,
        lengths: Array | None,
    ) -> None:
        self.op = op
        self.cell = cell
        self.directions = directions
        self.reverse = reverse
        self.batch_first = batch_first
        self.lengths = lengths

    def forward(self, x: Any, h0: Any, c0: Any, weights: Any, save: bool) -> Any:
        """Return (y, h_n, c_n, saved)."""
        return _core.rnn_forward(
            self.op,
            self.cell,
            x,
            h0,
            c0,
            weights,
            self.reverse,
            self.batch_first,
            self.lengths,
            save,
        )

    def backward(
        self,
        x: Any,
        h0: Array | None,
        c0: Array | None,
        weights: Any,
        y: Array,
        saved: Any,
        grads: Any,
        needs: tuple[bool, ...],
    ) -> Gradients:
        """Return gradients of x, h0, c0 and of all weights, from those of (y, h_n, c_n)."""
        grad_y, grad_h, grad_c = (*grads, None)[:3]
        grad_x = np.zeros_like(x, order="C") if needs[0] else None
        states: list[tuple[Array, Array]] = []
        of_weights: list[Array | None] = []
        for d, direction in enumerate(weights):
            wanted = needs[3 + 6 * d : 9 + 6 * d]
            result = _core.rnn_backward(
                self.cell,
                x,
                _direction(h0, d),
                _direction(c0, d),
                direction,
                y,
                grad_y,
                _direction(grad_h, d),
                _direction(grad_c, d),
                saved[d],
                grad_x,
                wanted,
                d == 1 if self.directions == 2 else self.reverse,
                self.batch_first,
                self.lengths,
                d,
                self.directions,
            )
            states.append(result[:2])
            of_weights.extend(result[2:])
        grad_h0 = np.stack([h for h, _ in states]) if needs[1] else None
        grad_c0 = np.stack([c for _, c in states]) if needs[2] else None
        return (grad_x, grad_h0, grad_c0, *of_weights)

    def checkpointed(
        self, x: Array, h0: Array | None, c0: Array | None, weights: Any, every: int
    ) -> tuple[Any, Any]:
        """Return ([y, h_n, c_n], backward), keeping the states before every `every` steps."""
        runs = [
            _Checkpoints(
                _Call(
                    self.op,
                    self.cell,
                    1,
                    d == 1 if self.directions == 2 else self.reverse,
                    self.batch_first,
                    self.lengths,
                ),
                x,
                (direction,),
                every,
            )
            for d, direction in enumerate(weights)
        ]
        parts = [
            run.forward(h0 if h0 is None else h0[d : d + 1], c0 if c0 is None else c0[d : d + 1])
            for d, run in enumerate(runs)
        ]
        y = np.concatenate([part[0] for part in parts], axis=-1)
        h_n = np.concatenate([part[1] for part in parts])
        c_n = None if parts[0][2] is None else np.concatenate([part[2] for part in parts])

        def backward(grads: Any, needs: tuple[bool, ...]) -> Gradients:
            grad_y, grad_h, grad_c = (*grads, None)[:3]
            width = y.shape[-1] // self.directions
            results = []
            for d, run in enumerate(runs):
                own = (
                    None if grad_y is None else grad_y[..., d * width : (d + 1) * width],
                    None if grad_h is None else grad_h[d : d + 1],
                    None if grad_c is None else grad_c[d : d + 1],
                )
                results.append(run.backward(own, (*needs[:3], *needs[3 + 6 * d : 9 + 6 * d])))
            grad_x = results[0][0]
            for result in results[1:]:
                grad_x = None if grad_x is None else grad_x + result[0]
            states = [
                np.concatenate([result[i] for result in results]) if needs[i] else None
                for i in (1, 2)
            ]
            return (grad_x, *states, *(w for result in results for w in result[3:]))

        return [y, h_n, c_n], backward


class _Checkpoints:
    """One direction in segments of time, of which only the first states are kept."""

    def __init__(self, call: _Call, x: Array, weights: Any, every: int) -> None:
        self.call = call
        self.x = x
        self.weights = weights
        self.axis = 1 if call.batch_first else 0
        steps = x.shape[self.axis]
        bounds = [(t, min(t + every, steps)) for t in range(0, steps, every)]
        self.bounds = bounds[::-1] if call.reverse else bounds
        self.states: list[tuple[Any, Any]] = []

    def _part(self, a: Array | None, bounds: tuple[int, int]) -> Array | None:
        if a is None:
            return None
        return a[:, slice(*bounds)] if self.axis == 1 else a[slice(*bounds)]

    def _segment(self, bounds: tuple[int, int]) -> _Call:
        """The call for one segment: a sequence that ends before it has length 0 in it."""
        call, (begin, end) = self.call, bounds
        lengths = None if call.lengths is None else np.clip(call.lengths - begin, 0, end - begin)
        return _Call(call.op, call.cell, 1, call.reverse, call.batch_first, lengths)

    def forward(self, h: Any, c: Any) -> tuple[Array, Array, Array | None]:
        y: Any = None
        for bounds in self.bounds:
            self.states.append((h, c))
            x = self._part(self.x, bounds)
            out, h, c, _ = self._segment(bounds).forward(x, h, c, self.weights, False)
            if y is None:
                y = np.empty((*self.x.shape[:2], out.shape[2]), out.dtype)
            self._part(y, bounds)[...] = out  # type: ignore[index]
        return y, h, c

    def backward(self, grads: Any, needs: tuple[bool, ...]) -> list[Any]:
        grad_y, grad_h, grad_c = grads
        grad_x = np.empty_like(self.x) if needs[0] else None
        totals: list[Any] = [None] * 6
        for bounds, (h, c) in zip(self.bounds[::-1], self.states[::-1]):
            segment, x = self._segment(bounds), self._part(self.x, bounds)
            y, _, _, saved = segment.forward(x, h, c, self.weights, True)
            own = (self._part(grad_y, bounds), grad_h, grad_c)
            part = segment.backward(
                x, h, c, self.weights, y, saved, own, (needs[0], True, True, *needs[3:])
            )
            grad_h = part[1]
            grad_c = part[2] if self.call.cell == "lstm" else None
            if grad_x is not None:
                self._part(grad_x, bounds)[...] = part[0]  # type: ignore[index]
            totals = [
                new if total is None else np.add(total, new, out=total)  # type: ignore[arg-type]
                for total, new in zip(totals, part[3:])
            ]
        return [grad_x, grad_h, grad_c, *totals]


def _direction(a: Array | None, d: int) -> Array | None:
    return None if a is None else a[d]
