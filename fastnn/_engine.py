"""The engine of reverse-mode differentiation: nodes, their order, and the backward pass."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy import ndarray

Array = ndarray[Any, Any]
Backward = Callable[[Any, "tuple[bool, ...]"], Any]

_order = itertools.count()


class Leaf(Protocol):
    """A tensor that was given, not computed: gradients end here."""

    def _accumulate(self, total: Sum) -> None: ...


class Edge(NamedTuple):
    """Where the gradient of one input goes, and what it must look like."""

    target: Node | Leaf
    output: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Node:
    """One recorded operation.

    `order` grows with every recorded operation, so a node's inputs always have a
    smaller one: descending `order` is a topological order.
    """

    __slots__ = (
        "__weakref__",
        "backward",
        "edges",
        "is_tuple",
        "name",
        "order",
        "outputs",
    )

    def __init__(
        self,
        name: str,
        backward: Backward,
        edges: tuple[Edge | None, ...],
        outputs: int,
        is_tuple: bool,
    ) -> None:
        self.name = name
        self.backward: Backward | None = backward
        self.edges = edges
        self.outputs = outputs
        self.is_tuple = is_tuple
        self.order = next(_order)

    def release(self) -> None:
        """Forget what the operation saved and where its inputs came from."""
        self.backward = None
        self.edges = ()


def check_like(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> None:
    """Raise unless `value` is an ndarray of this shape and dtype."""
    if not isinstance(value, ndarray):
        raise TypeError(f"{what} must be an ndarray, got {type(value).__name__}")
    if value.dtype != dtype:
        raise TypeError(
            f"{what} must be {dtype}, got {value.dtype}; convert it with .astype(np.{dtype})"
        )
    if value.shape != shape:
        raise ValueError(f"{what} must have shape {shape}, got {value.shape}")


class Sum:
    """The sum of the gradients that reached one place, in the order they came."""

    __slots__ = ("owned", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.owned = False

    def add(self, gradient: Array) -> None:
        if self.value is None:
            self.value = gradient
        elif self.owned:
            np.add(self.value, gradient, out=self.value)
        else:
            self.value = np.asarray(self.value + gradient)
            self.owned = True

    def take(self) -> Array:
        """Return the sum, contiguous and in memory that nobody else holds, copied if need be."""
        flags = self.value.flags
        usable, owns = flags.c_contiguous and flags.writeable, flags.owndata
        del flags
        if (
            usable
            and self.references() <= _SOLE_REFERENCES
            and (owns or (self._is_reshaped() and self.base_references() <= _SOLE_BASE_REFERENCES))
        ):
            return self.value  # type: ignore[no-any-return]
        return np.array(self.value, order="C", copy=True)

    def _is_reshaped(self) -> bool:
        """Whether the array is a view of another one's whole memory."""
        base = self.value.base
        return type(base) is ndarray and base.flags.owndata and base.nbytes == self.value.nbytes

    def references(self) -> int:
        """Count the references to the array; the number when it is alone is measured."""
        return sys.getrefcount(self.value)

    def base_references(self) -> int:
        """Count the references to what the array is a view of."""
        return sys.getrefcount(self.value.base)


def _sole_references() -> tuple[int, int]:
    probe = Sum()
    probe.add(np.zeros((1, 1)).reshape(1))
    return probe.references(), probe.base_references()


_SOLE_REFERENCES, _SOLE_BASE_REFERENCES = _sole_references()


def _reachable(root: Node) -> list[Node]:
    """Return every node below `root`, each before the nodes it came from."""
    seen = {root}
    stack = [root]
    while stack:
        node = stack.pop()
        if node.backward is None:
            raise RuntimeError(
                f"backward: the graph (at {node.name}) was already used and freed by an "
                "earlier backward; pass retain_graph=True to that one"
            )
        for edge in node.edges:
            target = None if edge is None else edge.target
            if isinstance(target, Node) and target not in seen:
                seen.add(target)
                stack.append(target)
    return sorted(seen, key=lambda node: node.order, reverse=True)


def run(root: Node, index: int, start: Sum, retain_graph: bool) -> None:
    pending: dict[Node, list[Sum]] = {root: [Sum() for _ in range(root.outputs)]}
    pending[root][index] = start
    del start
    leaves: dict[int, tuple[Leaf, Sum]] = {}
    for node in _reachable(root):
        sums = pending.pop(node, None)
        if sums is not None:
            _differentiate(node, sums, pending, leaves)
            del sums
        if not retain_graph:
            node.release()
    for leaf, total in leaves.values():
        leaf._accumulate(total)


def _differentiate(
    node: Node,
    sums: list[Sum],
    pending: dict[Node, list[Sum]],
    leaves: dict[int, tuple[Leaf, Sum]],
) -> None:
    """Run one node's backward and hand its gradients on."""
    assert node.backward is not None
    grads = tuple(s.value for s in sums)
    needs = tuple(edge is not None for edge in node.edges)
    results = node.backward(grads if node.is_tuple else grads[0], needs)
    if not isinstance(results, (tuple, list)) or len(results) != len(node.edges):
        raise RuntimeError(
            f"{node.name}: internal error: backward must return {len(node.edges)} "
            "gradients, one for each input"
        )
    for position, (edge, gradient) in enumerate(zip(node.edges, results)):
        if edge is None or gradient is None:
            continue
        if isinstance(gradient, np.generic):
            gradient = np.asarray(gradient)
        what = f"{node.name}: internal error: gradient of input {position}"
        try:
            check_like(gradient, edge.shape, edge.dtype, what)
        except (TypeError, ValueError) as error:
            raise RuntimeError(str(error)) from None
        target = edge.target
        if isinstance(target, Node):
            if target not in pending:
                pending[target] = [Sum() for _ in range(target.outputs)]
            pending[target][edge.output].add(gradient)
        else:
            leaves.setdefault(id(target), (target, Sum()))[1].add(gradient)
