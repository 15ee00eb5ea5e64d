"""Weights on disk in the safetensors format: `save` and `load`.

The format is a JSON header and raw little-endian bytes. Reading it runs no code, unlike pickle,
and other libraries (PyTorch, Hugging Face) read and write the same files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing import Union

    from numpy.typing import NDArray

    from fastnn.nn import Module

    Path = Union[str, os.PathLike[str]]

__all__ = ["load", "rename", "save"]

_DTYPES = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64"),
}


def save(
    obj: Module | Mapping[str, Any], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a module's parameters and buffers, or a dict of arrays, to a safetensors file.

    The file appears whole or not at all: it is written under a temporary name in the same
    directory, then renamed. Arrays may have any strides; those that share memory are written one
    by one.

    Parameters
    ----------
    obj : Module or mapping of str to array
        A module is saved as its ``state_dict()``.
    path : str or path-like
        The file; an existing one is replaced.
    metadata : mapping of str to str, optional
        Text that goes into the header, for instance what the model was trained on.

    Raises
    ------
    TypeError
        If `obj` is neither, a key is not a str, or a value is not an array of a dtype that the
        format has: bool, (u)int8 to (u)int64, float16, float32, float64, or ml_dtypes' bfloat16.
    ValueError
        If a key is ``"__metadata__"``, which the format reserves.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import fastnn
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
    >>> fastnn.save({"weight": np.ones((2, 3), np.float32)}, path)
    >>> fastnn.load(path)
    {'weight': array([[1., 1., 1.],
           [1., 1., 1.]], dtype=float32)}
    """
    import safetensors.numpy

    state = obj.state_dict() if hasattr(obj, "state_dict") else obj
    if not isinstance(state, Mapping):
        raise TypeError(f"save: obj must be a Module or a dict of arrays, got {type(obj).__name__}")
    arrays = {_checked_key(key): _as_storable(key, value) for key, value in state.items()}
    if metadata is not None:
        for item in (part for pair in metadata.items() for part in pair):
            if not isinstance(item, str):
                raise TypeError(f"save: metadata must map str to str, got {item!r}")
    contents = safetensors.numpy.save(arrays, None if metadata is None else dict(metadata))
    _write_atomically(os.path.realpath(_checked_path("save", path)), contents)


def load(path: Path, model: Module | None = None) -> dict[str, NDArray[Any]]:
    """Read a safetensors file, and optionally put its arrays into a module.

    Parameters
    ----------
    path : str or path-like
        The file.
    model : Module, optional
        Gets the arrays through ``model.load_state_dict``, which is strict: names and shapes must
        agree exactly.

    Returns
    -------
    dict of str to ndarray
        The arrays by name, in the order of their names.

    Raises
    ------
    FileNotFoundError, OSError
        If the file does not exist or cannot be read.
    ValueError
        If it is not a safetensors file, or is damaged.
    TypeError
        If `model` is not a module, or the file holds a dtype that NumPy lacks; the package
        ml_dtypes adds bfloat16.

    Examples
    --------
    >>> import os, tempfile
    >>> import fastnn
    >>> path = os.path.join(tempfile.mkdtemp(), "linear.safetensors")
    >>> fastnn.save(fastnn.nn.Linear(3, 2), path)
    >>> model = fastnn.nn.Linear(3, 2)
    >>> sorted(fastnn.load(path, model))
    ['bias', 'weight']
    """
    import safetensors
    import safetensors.numpy

    if model is not None and not hasattr(model, "load_state_dict"):
        raise TypeError(f"load: model must be a Module, got {type(model).__name__}")
    path = _checked_path("load", path)
    with open(path, "rb"):
        pass  # A file that is missing, a directory or not readable is Python's own OSError.
    try:
        arrays = safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"load: {os.fspath(path)!r} is not a safetensors file, or is damaged: {error}"
        ) from error
    except (AttributeError, KeyError, TypeError) as error:
        raise TypeError(
            f"load: {os.fspath(path)!r} holds a dtype that NumPy lacks ({error}); "
            "for bfloat16 install ml_dtypes"
        ) from error
    arrays = {name: arrays[name] for name in sorted(arrays)}
    if model is not None:
        model.load_state_dict(arrays)
    return arrays


def rename(
    state: Mapping[str, NDArray[Any]], rules: Sequence[tuple[str, str]]
) -> dict[str, NDArray[Any]]:
    r"""Translate the names of weights, for a model that calls its layers otherwise.

    Parameters
    ----------
    state : mapping of str to array
        What :func:`load` returned.
    rules : sequence of (pattern, replacement)
        The first whose pattern (a regular expression) matches the beginning of a name replaces it,
        as ``re.sub`` does. Names that no pattern matches are left out. Weights that end up with
        equal names are concatenated, in the order of the rules: query, key and value become one
        in_proj_weight.

    Returns
    -------
    dict of str to array
        For ``model.load_state_dict``.

    Raises
    ------
    ValueError
        If a rule matches no name, or weights with equal names do not fit each other.

    Examples
    --------
    >>> state = {"dense.key": np.zeros(1), "dense.query": np.ones(1), "version": np.ones(1)}
    >>> rename(state, [(r"dense\.query", "in_proj"), (r"dense\.key", "in_proj")])
    {'in_proj': array([1., 0.])}
    """
    found: dict[str, list[tuple[int, NDArray[Any]]]] = {}
    used = set()
    for name, weight in state.items():
        for i, (pattern, replacement) in enumerate(rules):
            match = re.match(pattern, name)
            if match is not None:
                new = match.expand(replacement) + name[match.end() :]
                found.setdefault(new, []).append((i, weight))
                used.add(i)
                break
    unused = [pattern for i, (pattern, _) in enumerate(rules) if i not in used]
    if unused:
        raise ValueError(f"rename: no name begins with {unused[0]!r}")
    result = {}
    for name, weights in found.items():
        ordered = [weight for _, weight in sorted(weights, key=lambda pair: pair[0])]
        try:
            result[name] = ordered[0] if len(ordered) == 1 else np.concatenate(ordered)
        except ValueError as error:
            raise ValueError(f"rename: {name}: {error}") from None
    return result


def _checked_path(name: str, path: Any) -> Any:
    """Return the path. A number would be taken for the descriptor of an open file, and closed."""
    try:
        return os.fspath(path)
    except TypeError:
        raise TypeError(
            f"{name}: path must be a str or path-like, got {type(path).__name__}"
        ) from None


def _checked_key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"save: keys of obj must be str, got {key!r} ({type(key).__name__})")
    if key == "__metadata__":
        raise ValueError("save: the key '__metadata__' is reserved; use the argument metadata")
    return key


def _as_storable(key: str, value: Any) -> NDArray[Any]:
    """Return the array in C order and little-endian."""
    if not hasattr(value, "__array__"):
        raise TypeError(f"save: obj[{key!r}] must be an array, got {type(value).__name__}")
    array = np.asarray(value)
    if array.dtype.name not in _DTYPES:
        raise TypeError(
            f"save: obj[{key!r}] has dtype {array.dtype}, which the safetensors format lacks"
        )
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _write_atomically(path: str, contents: bytes) -> None:
    """Write to a temporary file next to `path`, then rename it."""
    temporary = os.path.join(os.path.dirname(path), f".{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
