"""The base class of optimizers: parameter groups, state, and saving them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from fastnn._in_place import in_place
from fastnn.autograd import Array, TensorBase, enable_grad
from fastnn.functional._args import flag, number

__all__ = [
    "MomentOptimizer",
    "Optimizer",
    "check_betas",
    "check_option",
    "count_steps",
    "kept",
    "next_steps",
]


# Options that are a bool; all others are numbers, but for the pair of betas.
FLAGS = ("amsgrad", "centered", "decoupled_weight_decay", "maximize", "nesterov")


class Optimizer:
    """Base class: parameter groups and the state kept for each parameter.

    Parameters
    ----------
    params : iterable of Tensor, or iterable of dict
        What to train. A dict is a group: ``{"params": [...], "lr": 0.1}`` overrides the defaults.
    defaults : dict
        Options of groups that do not set them.

    Attributes
    ----------
    param_groups : list of dict
        Options may be changed between steps: ``optimizer.param_groups[0]["lr"] *= 0.1``.
    state : dict
        Tensor -> dict of what the algorithm keeps for it.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a leaf Tensor of floating point, comes twice, or there is none.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self._name = type(self).__name__.lower()
        if isinstance(params, (TensorBase, np.ndarray, Mapping)):
            raise TypeError(
                f"{self._name}: params must be an iterable of Tensors or dicts, "
                f"got {type(params).__name__}"
            )
        self.defaults = defaults
        if not isinstance(params, Iterable):
            raise TypeError(f"{self._name}: params must be Tensors, got {type(params).__name__}")
        self.state: dict[TensorBase, dict[str, Any]] = {}
        self.param_groups: list[dict[str, Any]] = []
        items = list(params)
        if not items:
            raise ValueError(f"{self._name}: params must not be empty")
        for group in items if isinstance(items[0], Mapping) else [{"params": items}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add a group of parameters with its own options."""
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(f"{self._name}: a parameter group must be a dict with 'params'")
        params = param_group["params"]
        params = [params] if isinstance(params, TensorBase) else list(params)
        known = {id(p) for group in self.param_groups for p in group["params"]}
        for param in params:
            self._check_param(param, known)
            known.add(id(param))
        group = {**self.defaults, **param_group, "params": params}
        for option in self.defaults:
            self._check_kind(option, group[option])
        self._check_options(group)
        self.param_groups.append(group)

    def _check_param(self, param: Any, known: set[int]) -> None:
        if not isinstance(param, TensorBase):
            raise TypeError(f"{self._name}: params must be Tensors, got {type(param).__name__}")
        if param.data.dtype.kind != "f":
            raise TypeError(f"{self._name}: params must be float, got {param.data.dtype}")
        if not param.is_leaf:
            raise ValueError(f"{self._name}: params must be leaf tensors, got a computed one")
        if id(param) in known:
            raise ValueError(f"{self._name}: params must be distinct, one came twice")

    def _check_kind(self, option: str, value: Any) -> None:
        """Raise if an option is neither the number, the pair nor the flag that it is."""
        if option == "betas":
            if not isinstance(value, (tuple, list)) or len(value) != 2:
                raise TypeError(f"{self._name}: betas must be a pair of numbers, got {value!r}")
            for beta in value:
                number(self._name, "betas", beta)
        elif option in FLAGS:
            flag(self._name, option, value)
        else:
            number(self._name, option, value)

    def _check_options(self, group: dict[str, Any]) -> None:
        """Raise if an option is out of range."""
        for option in ("lr", "weight_decay"):
            check_option(self._name, option, group[option], group[option] >= 0, ">= 0")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none or param.grad is None:
                    param.grad = None
                else:
                    param.grad = np.zeros_like(param.data)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Computes the gradients anew and returns the loss, which is returned.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_dtype: dict[Any, list[TensorBase]] = {}
            for param in group["params"]:
                if param.grad is not None:
                    param.drop_packs()
                    by_dtype.setdefault(param.data.dtype, []).append(param)
            for params in by_dtype.values():
                states = [self.state.setdefault(param, {}) for param in params]
                with in_place([param.data for param in params]) as arrays:
                    self._update(arrays, [param.grad for param in params], states, group)
        return loss

    def _update(
        self,
        params: list[Array],
        grads: list[Any],
        states: list[dict[str, Any]],
        group: dict[str, Any],
    ) -> None:
        """Change parameters of one dtype, contiguous arrays, in place."""
        raise NotImplementedError(f"{type(self).__name__}: _update is not defined")

    def state_dict(self) -> dict[str, Any]:
        """Return the state and options, with parameters numbered in order.

        The arrays are the live ones, not copies.
        """
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for param in group["params"]:
                numbers[id(param)] = len(numbers)
            groups.append({**group, "params": [numbers[id(p)] for p in group["params"]]})
        state = {numbers[id(param)]: dict(kept) for param, kept in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over copies of the state and options that ``state_dict`` returned.

        Raises
        ------
        ValueError
            If the groups or the shapes of the arrays do not fit; nothing is changed then.
        """
        groups = state_dict["param_groups"]
        sizes = [len(group["params"]) for group in groups]
        own = [len(group["params"]) for group in self.param_groups]
        if sizes != own:
            raise ValueError(
                f"{self._name}: state_dict must have parameter groups of sizes {own}, got {sizes}"
            )
        numbers = [number for group in groups for number in group["params"]]
        params = [param for group in self.param_groups for param in group["params"]]
        state = {
            param: _copied_state(self._name, number, state_dict["state"][number], param.data)
            for number, param in zip(numbers, params)
            if number in state_dict["state"]
        }
        new = [
            {**self.defaults, **copy.deepcopy(dict(group)), "params": mine["params"]}
            for group, mine in zip(groups, self.param_groups)
        ]
        for group in new:
            self._check_options(group)
        self.state, self.param_groups = state, new

    def __repr__(self) -> str:
        lines = []
        for position, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {position}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return f"{type(self).__name__} (\n" + "\n".join(lines) + "\n)"


def check_option(name: str, option: str, value: Any, valid: Any, need: str) -> None:
    """Raise unless the option is valid, saying what it needs to be."""
    if not valid:
        raise ValueError(f"{name}: {option} must be {need}, got {value}")


def check_betas(name: str, betas: Any) -> None:
    """Raise unless `betas` are two numbers that a mean can decay with."""
    valid = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
    check_option(name, "betas", betas, valid, "two numbers in [0, 1)")


class MomentOptimizer(Optimizer):
    """Base of Adam and its variants: running means that decay with `betas`, and `eps`."""

    def _check_options(self, group: dict[str, Any]) -> None:
        super()._check_options(group)
        check_option(self._name, "eps", group["eps"], group["eps"] >= 0, ">= 0")
        check_betas(self._name, group["betas"])


def _copied_state(name: str, number: int, state: Mapping[str, Any], data: Array) -> dict[str, Any]:
    copied: dict[str, Any] = {}
    for key, value in state.items():
        if key == "step":
            copied[key] = int(value)
        elif key == "mu_product":  # NAdam's, a number
            copied[key] = float(value)
        elif value is None:
            copied[key] = None
        else:
            copied[key] = np.array(value, dtype=data.dtype, order="C")
            if copied[key].shape != data.shape:
                raise ValueError(
                    f"{name}: state_dict['state'][{number}]['{key}'] must have shape "
                    f"{data.shape}, got {copied[key].shape}"
                )
    return copied


def kept(
    states: list[dict[str, Any]], key: str, params: list[Array], fill: float = 0.0
) -> list[Array]:
    """Return an array of each state, full of `fill` at first, in its parameter's dtype."""
    return [_kept(state, key, data, fill) for state, data in zip(states, params)]


def _kept(state: dict[str, Any], key: str, data: Array, fill: float) -> Array:
    array = state.get(key)
    if array is None:
        array = np.full(data.shape, fill, data.dtype)
    elif array.dtype == data.dtype:
        return array  # type: ignore[no-any-return]
    state[key] = array.astype(data.dtype, copy=False)
    return state[key]  # type: ignore[no-any-return]


def next_steps(states: list[dict[str, Any]]) -> list[int]:
    """Return the number of the coming step of every parameter."""
    return [state.get("step", 0) + 1 for state in states]


def count_steps(states: list[dict[str, Any]]) -> None:
    """Count the step that was taken, of every parameter."""
    for state in states:
        state["step"] = state.get("step", 0) + 1
