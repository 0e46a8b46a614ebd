"""The transformations of a chain and of groups, each as an optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from opax._lookup import find
from opax._recipe import Recipe
from pax_jax import StateModule


class Part(StateModule):
    """One transformation of an alias such as `adam`, which optax makes out of several.

    Attributes:
        label: what the transformation is called; static.
        template: that of the whole; static.
        hyperparams: those of the whole.
        state: optax's state of this transformation, whose fields are attributes of this module too.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax
        >>> optimizer = opax.adam(1e-3)({"w": jnp.ones(2)})
        >>> optimizer[0], optimizer[0].mu, optimizer[-1].learning_rate
        (scale_by_adam, {'w': Array([0., 0.], dtype=float32)}, Array(0.001, dtype=float32))
    """

    _checks_sharing = False

    def __init__(self, label: str, owner: Any, state: Any) -> None:
        super().__init__()
        self.label = label
        self.template = owner.template
        self.register_state_subtree("hyperparams", owner.hyperparams)
        self.register_state_subtree("state", state)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in {"label", "template", "hyperparams", "state"}:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")
        return find(self, name)

    def __getitem__(self, index: int) -> Any:
        return self.state[index]

    def __repr__(self) -> str:
        return self.label


def part(optimizer: Any, index: Any) -> Any:
    """Return the transformation at an index or of a label, or a slice of a chain.

    Raises:
        TypeError: the optimizer is no chain.
        IndexError: it has fewer transformations.
        KeyError: it has none of this label.
    """
    found = parts(optimizer)
    if not found:
        raise TypeError(
            f"{optimizer!r} is not a chain: its state is one {type(optimizer.state).__name__}, "
            "which is `optimizer.state`."
        )
    if isinstance(index, slice):
        return _slice(optimizer, list(found.values())[index])
    if index in found:
        return found[index]
    if isinstance(index, int):
        return list(found.values())[index]
    raise KeyError(f"{optimizer!r} has {', '.join(map(repr, found))}, and not {index!r}.")


def parts(optimizer: Any) -> dict[Any, Any]:
    """Return the transformations of an optimizer by index or label; none where it is one."""
    recipe = optimizer.template.recipe
    kind = getattr(recipe and recipe.function, "__name__", "")
    if kind in _INNER:
        return dict(_INNER[kind](optimizer, recipe.arguments))
    state = optimizer.state
    if not isinstance(state, tuple) or hasattr(state, "_fields"):
        return {}
    labels = _labels(optimizer.template.build_traced(optimizer.hyperparams).update, state)
    return {i: Part(labels[i], optimizer, x) for i, x in enumerate(state)}


def _slice(optimizer: Any, chosen: list[Any]) -> Any:
    """Make an optimizer of some transformations of a chain; of an alias, whose are no chain, a list."""
    recipe = optimizer.template.recipe
    if getattr(recipe and recipe.function, "__name__", "") != "chain":
        return chosen
    values = {f"{i}.{name}": x for i, o in enumerate(chosen) for name, x in o.hyperparams.items()}
    return optimizer._of(
        type(optimizer.template)(
            Recipe(recipe.function, {"args": tuple(o.template for o in chosen)})
        ),
        values,
        optimizer.structure,
        tuple(o.state for o in chosen),
    )


def _chain(optimizer: Any, arguments: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    for i, inner in enumerate(arguments.get("args", ())):
        yield i, _inner(optimizer, str(i), inner, optimizer.state[i])


def _named_chain(optimizer: Any, arguments: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    for i, (name, inner) in enumerate(arguments.get("args", ())):
        yield name, _inner(optimizer, f"{i}.1", inner, optimizer.state[name])


def _groups(optimizer: Any, arguments: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    for label, inner in arguments["transforms"].items():
        state = optimizer.state.inner_states[label].inner_state
        yield label, _inner(optimizer, f"transforms.{label}", inner, state)


def _wrapped(argument: str, field: str) -> Callable[..., Any]:
    def inner(optimizer: Any, arguments: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
        yield 0, _inner(optimizer, argument, arguments[argument], getattr(optimizer.state, field))

    return inner


_INNER = {
    "chain": _chain,
    "named_chain": _named_chain,
    "partition": _groups,
    "multi_transform": _groups,
    "masked": _wrapped("inner", "inner_state"),
    "apply_if_finite": _wrapped("inner", "inner_state"),
    "MultiSteps": _wrapped("opt", "inner_opt_state"),
}
"""The transformations that are made of others: where those and their states are."""


def _inner(optimizer: Any, path: str, inner: Any, state: Any) -> Any:
    template = inner if hasattr(inner, "recipe") else type(optimizer.template)(None, inner)
    start = f"{path}."
    values = {
        k.removeprefix(start): x for k, x in optimizer.hyperparams.items() if k.startswith(start)
    }
    return optimizer._of(template, values, optimizer.structure, state)


def _labels(update: Any, state: tuple[Any, ...]) -> list[str]:
    """Return what the transformations of optax's chain are called."""
    inner = _captured(_unwrapped(update), "update_fns") or ()
    if len(inner) != len(state):
        return [type(x).__name__ for x in state]
    return [_unwrapped(each).__qualname__.partition(".")[0] for each in inner]


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
