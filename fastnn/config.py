"""What this build is and what it found on this machine."""

from __future__ import annotations

from fastnn import _core


def config() -> dict[str, object]:
    """The facts that :func:`show_config` prints, as a dictionary."""
    import fastnn

    l1, l2, l3 = _core.cache_sizes()
    return {
        "fastnn": fastnn.__version__,
        "isa": _core.active_isa(),
        "extensions": ", ".join(_core.extensions()) or "none",
        "available isas": ", ".join(_core.available_isas()),
        "threads": _core.get_num_threads(),
        "compiler": _core.compiler(),
        "caches": f"L1 {l1 >> 10} KiB, L2 {l2 >> 10} KiB, L3 {l3 >> 10} KiB",
        "cuda": "not built",
    }


def show_config() -> None:
    """Print the version, instruction set, threads, compiler and CUDA state.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.show_config()  # doctest: +ELLIPSIS
    fastnn: ...
    """
    for name, value in config().items():
        print(f"{name}: {value}")
