"""Names of an optimizer's hyperparameters and of its state: where each is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from opax._hyperparameters import STATE
from opax._promotion import usual_promotion
from opax._recipe import SLOT, join, signature_names

_INJECTED = optax.InjectStatefulHyperparamsState


def find(optimizer: Any, name: str) -> Any:
    """Return a hyperparameter or a field of the state by name or by path.

    Raises:
        AttributeError: there is none, or more than one.
    """
    injected = [state.hyperparams[name] for state in _injected(optimizer.state, name)]
    if len(injected) == 1:
        return injected[0]
    own = dict(_own_arguments(optimizer.template, ""))
    if name in own:
        return _value(optimizer, name, own[name])
    if name in getattr(optimizer.state, "_fields", ()):
        return getattr(optimizer.state, name)
    arguments = {path: x for path, x in _arguments(optimizer.template, "") if x is not None}
    paths = _ending(arguments, name)
    found = injected or [_value(optimizer, path, arguments[path]) for path in paths]
    found = found or [value for _, value in optax.tree.get_all_with_path(optimizer.state, name)]
    if len(found) == 1:
        return found[0]
    raise _unknown(optimizer, name, len(found))


def place(optimizer: Any, name: str) -> tuple[str, bool]:
    """Return the path of a hyperparameter that can be replaced, and whether optax's state has it.

    Raises:
        AttributeError: there is none, or more than one, or it is fixed.
    """
    if len(_injected(optimizer.state, name)) == 1:
        return name, True
    arguments = dict(_arguments(optimizer.template, ""))
    paths = [name] if name in arguments else _ending(arguments, name)
    paths = [path for path in paths if arguments[path] is not None] or paths
    if len(paths) != 1:
        raise _unknown(optimizer, name, len(paths))
    value = arguments[paths[0]]
    if value is not SLOT and not isinstance(value, float):
        reason = "follows a schedule" if callable(value) else f"is {value!r}"
        raise AttributeError(
            f"{paths[0]} of {optimizer!r} {reason}, which is part of what is compiled: make a new "
            "optimizer for another."
        )
    return paths[0], False


def weight_decays(template: Any) -> bool:
    """Say whether a transformation may change parameters that have no gradient by weight decay."""
    if template.recipe is None:
        return True
    arguments = _arguments(template, "")
    return any("weight_decay" in path and value for path, value in arguments)


def _arguments(template: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the arguments of a template, and of the templates inside it, by path."""
    if template.recipe is None:
        return
    inner: list[tuple[str, Any]] = []
    template.recipe.map(lambda at, value: inner.append((at, value)))
    for at, value in inner:
        if hasattr(value, "recipe"):
            yield from _arguments(value, join(path, at))
    yield from _own_arguments(template, path)


def _own_arguments(template: Any, path: str) -> Iterator[tuple[str, Any]]:
    if template.recipe is None:
        return
    for name in signature_names(template.recipe.function):
        try:
            value = template.recipe.argument(name)
        except KeyError:
            continue
        if not hasattr(value, "recipe") and not isinstance(value, tuple):
            yield join(path, name), value


def _ending(arguments: dict[str, Any], name: str) -> list[str]:
    return [path for path in arguments if path.endswith(f".{name}")]


def _value(optimizer: Any, path: str, value: Any) -> Any:
    if value is SLOT:
        return optimizer.hyperparams[path]
    is_schedule = callable(value) and path.rpartition(".")[2] in {*STATE, "step_size_fn"}
    if not is_schedule:
        return value
    with usual_promotion():
        return jnp.asarray(value(_count(optimizer.state)))


def _count(state: Any) -> Any:
    """Return the number of steps that a schedule has seen."""
    for name in ("ScaleByScheduleState", ""):
        for _, count in optax.tree.get_all_with_path(
            state, "count", lambda path, _, name=name: name in str(path)
        ):
            return count
    return 0


def inject(state: Any, name: str, value: Any) -> Any:
    """Return optax's state with another value for a hyperparameter that it holds."""

    def change(inner: Any) -> Any:
        if not isinstance(inner, _INJECTED) or name not in inner.hyperparams:
            return inner
        old = inner.hyperparams[name]
        return inner._replace(
            hyperparams={**inner.hyperparams, name: jnp.asarray(value, jnp.result_type(old))}
        )

    return jax.tree.map(change, state, is_leaf=lambda x: isinstance(x, _INJECTED))


def _injected(state: Any, name: str) -> list[Any]:
    leaves = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, _INJECTED))
    return [x for x in leaves if isinstance(x, _INJECTED) and name in x.hyperparams]


def _unknown(optimizer: Any, name: str, number: int) -> AttributeError:
    if not number:
        return AttributeError(f"{optimizer!r} has no hyperparameter and no state {name!r}.")
    paths = _ending(dict(_arguments(optimizer.template, "")), name) or [f"0.{name}"]
    return AttributeError(
        f"{optimizer!r} has {number} of the name {name!r}: {', '.join(paths)}. Read it from one "
        f"transformation (`optimizer[0]`), replace it by its path "
        f"(`optimizer.replace(**{{{paths[0]!r}: 0.1}})`)."
    )
