"""Nested dicts and lists as named arrays and a text, and back: what a checkpoint is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# The header's name for the text.
KEY = "fastnn.nested"

_PLAIN = (bool, int, float, str, type(None))


def state_of(value: Any) -> Any:
    """Return the ``state_dict()`` of what has one (a module, an optimizer), else the value."""
    return value.state_dict() if hasattr(value, "state_dict") else value


def is_nested(state: Mapping[Any, Any]) -> bool:
    """Whether a mapping is more than names of arrays."""
    return not all(hasattr(value, "__array__") for value in state.values())


def flatten(state: Any) -> tuple[dict[str, Any], str]:
    """Return the arrays by dotted names, and the rest as JSON.

    Raises
    ------
    TypeError
        For a value that is neither an array, a number, text, None, a dict, a list, a tuple, nor
        has a ``state_dict``.
    ValueError
        If two arrays get one name.
    """
    arrays: dict[str, Any] = {}
    tree = _encode(state, "", arrays)
    return arrays, json.dumps(tree)


def _encode(value: Any, path: str, arrays: dict[str, Any]) -> Any:
    """Containers and arrays become a dict with their kind; plain values stay as they are."""
    value = state_of(value)
    if type(value) in _PLAIN:
        return value
    if hasattr(value, "__array__"):
        if path in arrays:
            raise ValueError(f"save: two arrays are called {path!r}")
        arrays[path] = value
        return {"array": path}
    if isinstance(value, Mapping):
        items = []
        for key, item in value.items():
            if type(key) not in (str, int):
                raise TypeError(f"save: keys must be str or int, got {key!r} in obj{_where(path)}")
            items.append([key, _encode(item, _join(path, key), arrays)])
        return {"dict": items}
    if type(value) in (list, tuple):
        items = [_encode(item, _join(path, i), arrays) for i, item in enumerate(value)]
        return {type(value).__name__: items}
    raise TypeError(
        f"save: obj{_where(path)} must be an array, a number, a str, None, a dict, a list or a "
        f"tuple of these, or have a state_dict; got {type(value).__name__}"
    )


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _where(path: str) -> str:
    return f": {path}" if path else ""


def unflatten(text: str, arrays: Mapping[str, Any]) -> Any:
    """Return what :func:`flatten` was given, with tensors as arrays.

    Raises
    ------
    ValueError
        If the text is not one that :func:`flatten` wrote for these arrays.
    """
    try:
        tree = json.loads(text)
        if set(tree) != {"dict"}:
            raise ValueError("it is not a dict")
        return _decode(tree, arrays)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the header's {KEY!r} is damaged: {error}") from None


def _decode(tree: Any, arrays: Mapping[str, Any]) -> Any:
    if type(tree) in _PLAIN:
        return tree
    ((kind, items),) = tree.items()
    if kind == "array":
        return arrays[items]
    if kind == "dict":
        return {key: _decode(item, arrays) for key, item in items}
    if kind == "list":
        return [_decode(item, arrays) for item in items]
    if kind == "tuple":
        return tuple(_decode(item, arrays) for item in items)
    raise ValueError(f"unknown kind {kind!r}")
