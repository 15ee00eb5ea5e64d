"""Module: the base class of layers and models, with PyTorch's semantics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from fastnn._core import ModuleBase
from fastnn._torch_names import on_cpu
from fastnn.autograd import Array, TensorBase
from fastnn.nn import hooks
from fastnn.nn.hooks import HookHandle
from fastnn.nn.parameter import Parameter
from fastnn.nn.state import IncompatibleKeys, load_arrays

__all__ = ["HookHandle", "IncompatibleKeys", "Module", "Parameter"]

_M = TypeVar("_M", bound="Module")


class Module(ModuleBase):
    """A layer or model: parameters, buffers, sub-modules and a ``forward``.

    Assigning a Parameter or a Module as an attribute registers it. Call
    ``super().__init__()`` first.

    Attributes
    ----------
    training : bool
        True in training mode; see :meth:`train` and :meth:`eval`.

    Examples
    --------
    >>> class Scale(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = Parameter(np.full(2, 3.0))
    ...     def forward(self, input):
    ...         return input * self.weight
    >>> scale = Scale()
    >>> [name for name, parameter in scale.named_parameters()]
    ['weight']
    >>> scale(np.ones(2)).sum().backward()
    >>> scale.weight.grad
    array([1., 1.])
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Array | None]
    _modules: dict[str, Module | None]
    _non_persistent: set[str]
    _hooks: hooks.Hooks | None = None

    def __init__(self) -> None:
        # The three tables hold what is registered, in order; each entry is an ordinary
        # attribute too, which keeps attribute access as fast as on any object.
        for name, value in (
            ("training", True),
            ("_parameters", {}),
            ("_buffers", {}),
            ("_modules", {}),
            ("_non_persistent", set()),
        ):
            object.__setattr__(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__}: forward is not defined")

    # Hooks

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call ``hook(module, args, output)`` after every ``forward``.

        What it returns, unless that is None, replaces the output. A module with hooks is not fused
        with the one after it.

        Parameters
        ----------
        hook : callable
        prepend : bool
            Whether it comes before the hooks that are there.
        with_kwargs : bool
            Whether it is called as ``hook(module, args, kwargs, output)``.

        Returns
        -------
        HookHandle
            Its ``remove()`` takes the hook away; it is a context manager, too.

        Examples
        --------
        >>> from fastnn import nn
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
        >>> seen = []
        >>> with model[0].register_forward_hook(lambda m, args, out: seen.append(out.shape)):
        ...     output = model(np.zeros((2, 3), np.float32))
        >>> seen
        [(2, 4)]
        """
        after = self._own_hooks().after
        return hooks.add("register_forward_hook", self, after, hook, prepend, with_kwargs)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call ``hook(module, args)`` before every ``forward``.

        What it returns, unless that is None, replaces the arguments: a tuple of them, or the only
        one. With `with_kwargs` it is called as ``hook(module, args, kwargs)`` and returns None or
        ``(args, kwargs)``. Otherwise as :meth:`register_forward_hook`.
        """
        before = self._own_hooks().before
        return hooks.add("register_forward_pre_hook", self, before, hook, prepend, with_kwargs)

    def _own_hooks(self) -> hooks.Hooks:
        if self._hooks is None:
            object.__setattr__(self, "_hooks", hooks.Hooks())
        return self._hooks  # type: ignore[return-value]

    def _drop_empty_hooks(self) -> None:
        if self._hooks is not None and not (self._hooks.before or self._hooks.after):
            object.__setattr__(self, "_hooks", None)

    # Registration

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Register a parameter, or None as a placeholder that is not saved."""
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"{type(self).__name__}: cannot assign {type(param).__name__} as parameter "
                f"{name!r}; Parameter or None expected"
            )
        self._register("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Register an array that is state but not trained (a running mean, say).

        Parameters
        ----------
        name : str
        tensor : array_like or None
            Kept as an ndarray.
        persistent : bool
            Whether it is part of the ``state_dict``.
        """
        self._register("_buffers", name, _buffer(tensor))
        (self._non_persistent.discard if persistent else self._non_persistent.add)(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Register a sub-module, or None as a placeholder."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__}: cannot assign {type(module).__name__} as child module "
                f"{name!r}; Module or None expected"
            )
        self._register("_modules", name, module)

    add_module = register_module

    def _register(self, table: str, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{type(self).__name__}: name must be a str, got {name!r}")
        if not name or "." in name:
            raise KeyError(f"{type(self).__name__}: name must not be empty or hold '.': {name!r}")
        if table not in self.__dict__:
            raise AttributeError(
                f"{type(self).__name__}: call super().__init__() before assigning {name!r}"
            )
        known = name in self.__dict__[table]
        if not known and name in self.__dict__:
            self._forget(name)
        elif not known and hasattr(type(self), name):
            raise KeyError(f"{type(self).__name__}: attribute {name!r} already exists")
        self.__dict__[table][name] = value
        object.__setattr__(self, name, value)

    def _forget(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            table.pop(name, None)
        self._non_persistent.discard(name)

    def __setattr__(self, name: str, value: Any) -> None:
        tables = self.__dict__
        if isinstance(value, Parameter) or name in tables.get("_parameters", ()):
            self.register_parameter(name, value)
        elif isinstance(value, Module) or name in tables.get("_modules", ()):
            self.register_module(name, value)
        elif name in tables.get("_buffers", ()):
            self._register("_buffers", name, _buffer(value))
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._forget(name)

    # Walking

    def named_modules(
        self, prefix: str = "", *, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Yield (dotted name, module) for this module and everything below, parents first."""
        return self._walk(prefix, set() if remove_duplicate else None)

    def _walk(self, prefix: str, seen: set[int] | None) -> Iterator[tuple[str, Module]]:
        if seen is not None:
            if id(self) in seen:
                return
            seen.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module._walk(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        seen = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def _named(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        walk = self.named_modules(prefix, remove_duplicate=remove_duplicate)
        for path, module in walk if recurse else [(prefix, self)]:
            for name, value in getattr(module, table).items():
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield f"{path}.{name}" if path else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield (dotted name, parameter); a shared parameter comes once."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Array]]:
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Array]:
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """Return the module of a dotted name ("" is this one).

        Raises
        ------
        AttributeError
            If there is none.
        """
        module: Module | None = self
        for name in target.split(".") if target else ():
            module = module._modules.get(name) if module is not None else None
        if module is None:
            raise AttributeError(f"{type(self).__name__}: has no sub-module {target!r}")
        return module

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter of a dotted name.

        Raises
        ------
        AttributeError
            If there is none.
        """
        path, _, name = target.rpartition(".")
        parameter = self.get_submodule(path)._parameters.get(name)
        if parameter is None:
            raise AttributeError(f"{type(self).__name__}: has no parameter {target!r}")
        return parameter

    def get_buffer(self, target: str) -> Array:
        """Return the buffer of a dotted name.

        Raises
        ------
        AttributeError
            If there is none.
        """
        path, _, name = target.rpartition(".")
        buffer = self.get_submodule(path)._buffers.get(name)
        if buffer is None:
            raise AttributeError(f"{type(self).__name__}: has no buffer {target!r}")
        return buffer

    # State

    def _state(self) -> Iterator[tuple[str, Module, str, Parameter | Array]]:
        """Yield (dotted name, owner, name, value) of what the state_dict holds."""
        for path, module in self.named_modules(remove_duplicate=False):
            start = f"{path}." if path else ""
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    yield start + name, module, name, parameter
            for name, buffer in module._buffers.items():
                if buffer is not None and name not in module._non_persistent:
                    yield start + name, module, name, buffer

    def state_dict(self, prefix: str = "") -> dict[str, Array]:
        """Return name -> array of all parameters and persistent buffers.

        The names are PyTorch's. The arrays are the live ones, not copies.
        """
        return {
            prefix + key: value._data if isinstance(value, Parameter) else value
            for key, _, _, value in self._state()
        }

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy arrays (or Tensors, or PyTorch tensors) into parameters and buffers.

        Everything is checked before anything is changed. A float32 value may fill a
        float64 place and the reverse.

        Parameters
        ----------
        state_dict : mapping of str to array_like
        strict : bool
            Whether missing and unexpected names are errors.

        Returns
        -------
        IncompatibleKeys
            ``missing_keys`` and ``unexpected_keys``.

        Raises
        ------
        StateDictError
            A ValueError and RuntimeError that lists all problems.
        """
        return load_arrays(self, list(self._state()), state_dict, strict)

    # Modes and conversion

    def train(self: _M, mode: bool = True) -> _M:
        """Set training mode (or evaluation mode) here and below; return self."""
        if not isinstance(mode, (bool, np.bool_)):
            raise TypeError(f"train: mode must be a bool, got {type(mode).__name__}")
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self: _M) -> _M:
        """Set evaluation mode here and below; return self."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or fill them with zeros."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad = np.zeros_like(parameter.data)

    def requires_grad_(self: _M, requires_grad: bool = True) -> _M:
        """Freeze or unfreeze all parameters; return self."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def apply(self: _M, fn: Callable[[Module], None]) -> _M:
        """Call `fn` on every module, children first; return self."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def astype(self: _M, dtype: Any) -> _M:
        """Convert floating-point parameters, gradients and buffers in place; return self.

        Raises
        ------
        TypeError
            If `dtype` is not float32 or float64.
        """
        wanted = np.dtype(dtype)
        if wanted not in (np.float32, np.float64):
            raise TypeError(f"astype: dtype must be float32 or float64, got {wanted}")
        for parameter in self.parameters():
            if parameter.data.dtype.kind in "iub":
                continue
            grad = parameter.grad
            parameter.data = parameter.data.astype(wanted, copy=False)
            parameter.grad = None if grad is None else grad.astype(wanted, copy=False)
        for module in self.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None and buffer.dtype.kind == "f":
                    setattr(module, name, buffer.astype(wanted, copy=False))
        return self

    def to(self: _M, target: Any) -> _M:
        """Convert to a dtype, as :meth:`astype`; "cpu" changes nothing. Return self."""
        return self if on_cpu("to", target) else self.astype(target)

    def float(self: _M) -> _M:
        """Convert to float32 in place; return self."""
        return self.astype(np.float32)

    def double(self: _M) -> _M:
        """Convert to float64 in place; return self."""
        return self.astype(np.float64)

    # Text

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of the repr; a subclass may define it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [
            f"({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self._modules.items()
        ]
        name = type(self).__name__
        if not children and len(lines) <= 1:
            return f"{name}({extra})"
        return f"{name}(\n  " + "\n  ".join(lines + children) + "\n)"


def _buffer(value: Any) -> Array | None:
    if isinstance(value, TensorBase):
        return value._data
    return None if value is None else np.asarray(value)


_F = TypeVar("_F", bound=Callable[..., Any])


def fuses(forward: _F) -> _F:
    """Mark a layer's `forward`: without recording it is ``self._infer(input)``.

    ``_infer(input, activation=None, residual=None)`` applies an activation, and adds an array
    before it, while the result is in cache. A derived class with a `forward` of its own is not
    marked.
    """
    forward.fuses = True  # type: ignore[attr-defined]
    return forward


def can_fuse(module: Module | None) -> bool:
    """Return whether `module` can apply a following activation itself."""
    if module is None or module._hooks is not None:
        return False
    return getattr(type(module).forward, "fuses", False)
