"""Hooks: functions that see what goes into and comes out of a module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnn.nn.module import Module

__all__ = ["HookHandle"]


@dataclass
class Hooks:
    """The hooks of one module, in the order in which they are called."""

    before: list[tuple[Callable[..., Any], bool]] = field(default_factory=list)
    after: list[tuple[Callable[..., Any], bool]] = field(default_factory=list)

    def call(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the module's `forward` between its hooks."""
        for hook, with_kwargs in list(self.before):
            changed = hook(module, args, kwargs) if with_kwargs else hook(module, args)
            if changed is None:
                continue
            if with_kwargs:
                args, kwargs = _pair(changed)
            else:
                args = changed if isinstance(changed, tuple) else (changed,)
        output = module.forward(*args, **kwargs)
        for hook, with_kwargs in list(self.after):
            seen = (args, kwargs) if with_kwargs else (args,)
            changed = hook(module, *seen, output)
            if changed is not None:
                output = changed
        return output


def _pair(changed: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(changed, tuple) and len(changed) == 2 and isinstance(changed[1], dict):
        return changed
    raise TypeError(
        "register_forward_pre_hook: a hook with_kwargs must return None or a tuple (args, kwargs), "
        f"got {type(changed).__name__}"
    )


class HookHandle:
    """What registering a hook returns: removes it, also at the end of a ``with`` block."""

    def __init__(
        self, module: Module, hooks: list[tuple[Callable[..., Any], bool]], entry: Any
    ) -> None:
        self._module = module
        self._hooks = hooks
        self._entry = entry

    def remove(self) -> None:
        """Call the hook no more; nothing happens the second time."""
        self._hooks[:] = [entry for entry in self._hooks if entry is not self._entry]
        self._module._drop_empty_hooks()

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()


def add(
    name: str,
    module: Module,
    hooks: list[tuple[Callable[..., Any], bool]],
    hook: Callable[..., Any],
    prepend: bool,
    with_kwargs: bool,
) -> HookHandle:
    """Put a hook into the list of a module's hooks."""
    if not callable(hook):
        raise TypeError(f"{name}: hook must be callable, got {type(hook).__name__}")
    entry = (hook, bool(with_kwargs))
    hooks.insert(0 if prepend else len(hooks), entry)
    return HookHandle(module, hooks, entry)
