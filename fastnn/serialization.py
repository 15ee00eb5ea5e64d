"""Weights and checkpoints on disk in the safetensors format: `save` and `load`.

The format is a JSON header and raw little-endian bytes. Reading it runs no code, unlike pickle,
and other libraries (PyTorch, Hugging Face) read and write the same files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import _nested

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


def save(obj: Any, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a module's parameters and buffers, a dict of arrays or a checkpoint to a file.

    The file appears whole or not at all: it is written under a temporary name in the same
    directory, then renamed. Arrays may have any strides; those that share memory are written one
    by one.

    Parameters
    ----------
    obj : Module, mapping of str to array, or nested dict
        What has a ``state_dict()``, as modules, optimizers and schedules do, is saved as that, also
        inside a dict. Dicts may hold dicts, lists, tuples, numbers, text and None besides arrays;
        this structure goes into the header, and the arrays get dotted names: other libraries read
        them as they read any file.
    path : str or path-like
        The file; an existing one is replaced.
    metadata : mapping of str to str, optional
        Text that goes into the header, for instance what the model was trained on.

    Raises
    ------
    TypeError
        If `obj` or a value in it is something else, a key is no str (in a dict inside `obj` it may
        be an int), or an array has a dtype that the format lacks. It has bool, (u)int8 to (u)int64,
        float16, float32, float64, and ml_dtypes' bfloat16.
    ValueError
        If a key is ``"__metadata__"``, which the format reserves, or dotted names collide.
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

    A checkpoint, and how training goes on from it:

    >>> model = fastnn.nn.Linear(3, 2)
    >>> optimizer = fastnn.optim.Adam(model.parameters())
    >>> fastnn.save({"model": model, "optimizer": optimizer, "epoch": 5}, path)
    >>> checkpoint = fastnn.load(path)
    >>> model.load_state_dict(checkpoint["model"])
    IncompatibleKeys(missing_keys=[], unexpected_keys=[])
    >>> optimizer.load_state_dict(checkpoint["optimizer"])
    >>> checkpoint["epoch"]
    5
    """
    import safetensors.numpy

    state = _nested.state_of(obj)
    if not isinstance(state, Mapping):
        raise TypeError(
            f"save: obj must be a Module, a dict of arrays or a nested dict, "
            f"got {type(obj).__name__}"
        )
    if metadata is not None and not isinstance(metadata, Mapping):
        raise TypeError(f"save: metadata must map str to str, got {metadata!r}")
    header = dict(metadata or {})
    for item in (part for pair in header.items() for part in pair):
        if not isinstance(item, str):
            raise TypeError(f"save: metadata must map str to str, got {item!r}")
    for key in state:
        _check_key(key)
    if _nested.is_nested(state):
        state, header[_nested.KEY] = _nested.flatten(state)
    arrays = {name: _as_storable(name, value) for name, value in state.items()}
    contents = safetensors.numpy.save(arrays, header or None)
    _write_atomically(os.path.realpath(_checked_path("save", path)), contents)


def load(path: Path, model: Module | None = None) -> dict[str, Any]:
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
        The arrays by name, in the order of their names. A nested dict comes back as it was saved,
        with an array for every tensor.

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
        with safetensors.safe_open(path, "np") as file:
            header = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"load: {os.fspath(path)!r} is not a safetensors file, or is damaged: {error}"
        ) from error
    except (AttributeError, KeyError, TypeError) as error:
        raise TypeError(
            f"load: {os.fspath(path)!r} holds a dtype that NumPy lacks ({error}); "
            "for bfloat16 install ml_dtypes"
        ) from error
    state = {name: arrays[name] for name in sorted(arrays)}
    if _nested.KEY in header:
        try:
            state = _nested.unflatten(header[_nested.KEY], arrays)
        except ValueError as error:
            raise ValueError(f"load: {os.fspath(path)!r}: {error}") from None
    if model is not None:
        model.load_state_dict(state)
    return state


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


def _check_key(key: Any) -> None:
    if not isinstance(key, str):
        raise TypeError(f"save: keys of obj must be str, got {key!r} ({type(key).__name__})")
    if key == "__metadata__":
        raise ValueError("save: the key '__metadata__' is reserved; use the argument metadata")


def _as_storable(key: str, value: Any) -> NDArray[Any]:
    """Return the array in C order and little-endian."""
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
