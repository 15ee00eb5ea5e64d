"""Containers of modules and parameters, and the layers that only reshape."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from fastnn import _shape as S
from fastnn.autograd import Result, array, is_grad_enabled
from fastnn.functional._args import integer
from fastnn.nn.elementwise import fused_activation
from fastnn.nn.module import Module, Parameter, can_fuse

__all__ = [
    "Flatten",
    "Identity",
    "ModuleDict",
    "ModuleList",
    "ParameterDict",
    "ParameterList",
    "Sequential",
    "Unflatten",
]


class _Indexed(Module):
    """Sub-modules with the names "0", "1", ... (or given ones) in order."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def _name(self, index: Any) -> str:
        position = operator.index(index)
        size = len(self._modules)
        if not -size <= position < size:
            raise IndexError(
                f"{type(self).__name__}: index must be in [{-size}, {size - 1}], got {position}"
            )
        return list(self._modules)[position]

    def _replace_all(self, modules: Iterable[Module]) -> None:
        new = list(modules)
        for name in list(self._modules):
            delattr(self, name)
        for position, module in enumerate(new):
            self.register_module(str(position), module)

    def __setitem__(self, index: int, module: Module) -> None:
        self.register_module(self._name(index), module)

    def __delitem__(self, index: int | slice) -> None:
        modules: list[Any] = list(self._modules.values())
        del modules[index]
        self._replace_all(modules)

    def append(self, module: Module) -> _Indexed:
        """Add a module at the end; return self."""
        self.register_module(str(len(self._modules)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> _Indexed:
        """Add modules at the end; return self."""
        _check_kind(type(self).__name__, "modules", modules, Iterable, "iterable")
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Put a module before position `index`."""
        modules: list[Any] = list(self._modules.values())
        modules.insert(index, module)
        self._replace_all(modules)


class Sequential(_Indexed):
    """Call modules one after the other.

    Parameters
    ----------
    *args : Module, or one mapping of str to Module
        The modules in order. They are named "0", "1", ... or by the mapping's keys.

    Examples
    --------
    >>> import numpy as np
    >>> model = Sequential(Identity(), Flatten())
    >>> model
    Sequential(
      (0): Identity()
      (1): Flatten(start_dim=1, end_dim=-1)
    )
    >>> model(np.zeros((2, 3, 4))).shape
    (2, 12)
    >>> len(model[:1])
    1
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.register_module(name, module)
        else:
            self.extend(args)

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    @overload
    def __getitem__(self, index: int) -> Any: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(dict(list(self._modules.items())[index]))
        return self._modules[self._name(index)]

    def forward(self, input: Any) -> Any:
        modules = list(self._modules.values())
        if is_grad_enabled():
            for module in modules:
                input = module(input)  # type: ignore[misc]
            return input
        while modules:
            module = modules.pop(0)
            activation = fused_activation(modules[0]) if modules and can_fuse(module) else None
            if activation is None:
                input = module(input)  # type: ignore[misc]
            else:
                del modules[0]
                input = module._infer(input, activation)  # type: ignore[union-attr]
        return input


class ModuleList(_Indexed):
    """A list of modules whose parameters belong to the model.

    Examples
    --------
    >>> layers = ModuleList([Identity(), Identity()])
    >>> layers.append(Flatten())[-1]
    Flatten(start_dim=1, end_dim=-1)
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)

    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    @overload
    def __getitem__(self, index: int) -> Any: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self._modules[self._name(index)]

    def append(self, module: Module) -> ModuleList:
        super().append(module)
        return self


class _Named(Module):
    """A mapping from names to the entries of one of the module's tables, `_entries`."""

    _entries: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self._entries[key]

    def __delitem__(self, key: str) -> None:
        if key not in self._entries:
            raise KeyError(key)
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def keys(self) -> Iterable[str]:
        return self._entries.keys()

    def values(self) -> Iterable[Any]:
        return self._entries.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        return self._entries.items()

    def pop(self, key: str) -> Any:
        """Remove an entry and return it."""
        entry = self[key]
        del self[key]
        return entry


class ModuleDict(_Named):
    """A dict of modules whose parameters belong to the model.

    Examples
    --------
    >>> heads = ModuleDict({"left": Identity()})
    >>> heads["right"] = Flatten()
    >>> list(heads)
    ['left', 'right']
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update({} if modules is None else modules)

    @property
    def _entries(self) -> Mapping[str, Any]:  # type: ignore[override]
        return self._modules

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add or replace modules."""
        _check_kind("ModuleDict", "modules", modules, Mapping, "a mapping")
        for name, module in modules.items():
            self[name] = module

    def __setitem__(self, key: str, module: Module) -> None:
        self.register_module(key, module)


class ParameterList(Module):
    """A list of parameters that belong to the model; anything else becomes a Parameter.

    Examples
    --------
    >>> import numpy as np
    >>> scales = ParameterList([np.ones(2), np.zeros(3)])
    >>> [name for name, _ in scales.named_parameters()]
    ['0', '1']
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(() if values is None else values)

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    def __getitem__(self, index: Any) -> Any:
        values = list(self._parameters.values())
        return type(self)(values[index]) if isinstance(index, slice) else values[index]

    def __setitem__(self, index: int, value: Any) -> None:
        position = range(len(self))[operator.index(index)]
        self.register_parameter(str(position), _parameter(value))

    def append(self, value: Any) -> ParameterList:
        """Add a parameter at the end; return self."""
        self.register_parameter(str(len(self)), _parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add parameters at the end; return self."""
        _check_kind("ParameterList", "values", values, Iterable, "iterable")
        for value in values:
            self.append(value)
        return self

    def extra_repr(self) -> str:
        return _parameter_lines(self)


class ParameterDict(_Named):
    """A dict of parameters that belong to the model; anything else becomes a Parameter.

    Examples
    --------
    >>> import numpy as np
    >>> weights = ParameterDict({"left": np.ones(2)})
    >>> weights["right"] = np.zeros(3)
    >>> list(weights)
    ['left', 'right']
    """

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.update({} if parameters is None else parameters)

    @property
    def _entries(self) -> Mapping[str, Any]:  # type: ignore[override]
        return self._parameters

    def update(self, parameters: Mapping[str, Any]) -> None:
        """Add or replace parameters."""
        _check_kind("ParameterDict", "parameters", parameters, Mapping, "a mapping")
        for name, value in parameters.items():
            self[name] = value

    def __setitem__(self, key: str, value: Any) -> None:
        self.register_parameter(key, _parameter(value))

    def extra_repr(self) -> str:
        return _parameter_lines(self)


class Identity(Module):
    """Return the input; any constructor arguments are ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Flatten(Module):
    """Join the axes from `start_dim` to `end_dim` (inclusive) into one.

    With the defaults (N, ...) becomes (N, product of the rest).
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = integer("Flatten", "start_dim", start_dim)
        self.end_dim = integer("Flatten", "end_dim", end_dim)

    def forward(self, input: Any) -> Result:
        result: Result = S.flatten(input, self.start_dim, self.end_dim)
        return result

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split the axis `dim` into axes of the given sizes; one of them may be -1.

    Raises
    ------
    ValueError
        From ``forward``, if the axis has another size.
    """

    def __init__(self, dim: int, unflattened_size: Iterable[int]) -> None:
        super().__init__()
        self.dim = integer("Unflatten", "dim", dim)
        _check_kind("Unflatten", "unflattened_size", unflattened_size, Iterable, "a tuple of ints")
        sizes = (integer("Unflatten", "unflattened_size", size) for size in unflattened_size)
        self.unflattened_size = tuple(sizes)

    def forward(self, input: Any) -> Result:
        shape = array(input).shape
        ndim = len(shape)
        if not -ndim <= self.dim < ndim:
            raise ValueError(f"Unflatten: dim must be in [{-ndim}, {ndim - 1}], got {self.dim}")
        dim = self.dim % ndim
        sizes = _sizes(shape[dim], self.unflattened_size)
        result: Result = S.reshape(input, (*shape[:dim], *sizes, *shape[dim + 1 :]))
        return result

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


def _check_kind(layer: str, name: str, value: Any, kind: type, need: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{layer}: {name} must be {need}, got {type(value).__name__}")


def _parameter(value: Any) -> Parameter:
    return value if isinstance(value, Parameter) else Parameter(value)


def _parameter_lines(module: Module) -> str:
    return "\n".join(
        f"({name}): Parameter {tuple(p.shape)} {p.dtype}"
        for name, p in module._parameters.items()
        if p is not None
    )


def _sizes(size: int, wanted: tuple[int, ...]) -> tuple[int, ...]:
    known = 1
    for part in wanted:
        known *= 1 if part == -1 else part
    open_ends = wanted.count(-1)
    fits = size == known if not open_ends else known > 0 and size % known == 0
    if open_ends > 1 or min(wanted, default=0) < -1 or not fits:
        raise ValueError(
            f"Unflatten: unflattened_size {wanted} does not fit an axis of size {size}"
        )
    return tuple(size // known if part == -1 else part for part in wanted)
