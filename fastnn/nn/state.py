"""Loading a state dict: check everything, then copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.autograd import Array
from fastnn.nn.parameter import Parameter

if TYPE_CHECKING:
    from fastnn.nn.module import Module


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict`` did not find, and what it had no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class StateDictError(ValueError, RuntimeError):
    """A state dict that does not fit the model; the message lists every problem."""


Entry = tuple[str, "Module", str, Any]


def load_arrays(
    model: Module, entries: list[Entry], state_dict: Mapping[str, Any], strict: bool
) -> IncompatibleKeys:
    """Copy `state_dict` into the `entries` of `model`, or change nothing and raise."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"load_state_dict: state_dict must be a mapping, got {type(state_dict).__name__}"
        )
    names = {entry[0] for entry in entries}
    missing = [entry[0] for entry in entries if entry[0] not in state_dict]
    unexpected = [key for key in state_dict if key not in names]
    problems = []
    if strict and missing:
        problems.append(f"Missing key(s) in state_dict: {_quoted(missing)}.")
    if strict and unexpected:
        problems.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}.")
    values = {}
    for key, _, _, current in entries:
        if key in state_dict:
            values[key] = np.asarray(state_dict[key])
            problems += _mismatch(key, values[key], current)
    if problems:
        listed = "\n\t".join(problems)
        raise StateDictError(
            f"Error(s) in loading state_dict for {type(model).__name__}:\n\t{listed}"
        )
    for key, owner, name, current in entries:
        if key in values:
            _copy(owner, name, current, values[key])
    return IncompatibleKeys(missing, unexpected)


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)


def _mismatch(key: str, value: Array, current: Any) -> list[str]:
    if value.shape != current.shape:
        return [
            f"size mismatch for {key}: copying a param with shape {value.shape} from "
            f"checkpoint, the shape in current model is {current.shape}."
        ]
    if not np.can_cast(value.dtype, current.dtype, "same_kind"):
        return [f"dtype mismatch for {key}: cannot copy {value.dtype} into {current.dtype}."]
    return []


def _copy(owner: Module, name: str, current: Any, value: Array) -> None:
    if isinstance(current, Parameter):
        current.drop_packs()
        current.data[...] = value
    elif current.flags.writeable:
        current[...] = value
    else:
        setattr(owner, name, value.astype(current.dtype))
