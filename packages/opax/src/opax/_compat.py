"""What opax reads of other libraries beyond their public names, and what happens without it."""

from __future__ import annotations

from typing import Any


def chain_labels(update: Any, states: tuple[Any, ...]) -> list[str]:
    """Return what the transformations of a chain of optax are called, for `repr` and summaries.

    optax's chain is a pair of functions, and says nowhere else than in their closures what it was
    made of. Where these have other variables, the labels are the names of the states' classes.
    """
    names = [type(state).__name__ for state in states]
    inner = _captured(_unwrapped(update), "update_fns") or ()
    if len(inner) != len(states):
        return names
    paths = [getattr(_unwrapped(each), "__qualname__", "") for each in inner]
    return [path.partition(".")[0] or name for path, name in zip(paths, names, strict=True)]


def _unwrapped(update: Any) -> Any:
    """Return the function that `optax.with_extra_args_support` wrapped."""
    while (tx := _captured(update, "tx")) is not None:
        update = tx.update
    return update


def _captured(function: Any, name: str) -> Any:
    code = getattr(function, "__code__", None)
    if code is None or name not in code.co_freevars:
        return None
    return function.__closure__[code.co_freevars.index(name)].cell_contents
