"""Replacing hyperparameters, so that a new value has its effect or is refused."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
from optax.schedules import StatefulSchedule

import pax_tree
from opax._call import Call, given
from opax._hyperparameters import (
    arguments,
    call_in_use,
    ending,
    hidden,
    injected,
    is_injected,
    plain_call,
    several,
)
from opax._params import usual_promotion


def replaced(optimizer: Any, name: str, value: Any, together: Collection[str]) -> tuple[Any, str]:
    """Return an optimizer with another value for a hyperparameter, and the path of that.

    Args:
        optimizer: an optimizer.
        name: a name, or a path.
        value: the new value.
        together: all names that are replaced in the same call.

    Raises:
        AttributeError: there is none of the name, or more than one, or the value would have no effect.
    """
    known = dict(arguments(call_in_use(optimizer)))
    path = _path(optimizer, known, name, together)
    if path is None:
        return _inject(optimizer, hidden(optimizer, name)[0], name, value), ""
    start, _, last = path.rpartition(".")
    for at, _, state in injected(plain_call(optimizer), optimizer.state):
        if at == start and last in state.hyperparams:
            if last in state.hyperparams_states and _are_schedules(known[path], value):
                return _with_schedule(optimizer, path, value), path
            return _inject(optimizer, state, last, value), ""
    if callable(known[path]) and callable(value):
        return _with_schedule(optimizer, path, value), path
    if callable(known[path]):
        raise _follows(optimizer, path)
    if path not in optimizer.hyperparams and not isinstance(known[path], float):
        raise AttributeError(
            f"{path} of {optimizer!r} is {known[path]!r}, which is part of what is compiled: make a "
            "new optimizer for another."
        )
    return _with_number(optimizer, path, value), path


def _are_schedules(*values: Any) -> bool:
    """Say whether all are functions of the step alone."""
    return all(callable(x) and not isinstance(x, StatefulSchedule) for x in values)


def _path(
    optimizer: Any, known: dict[str, Any], name: str, together: Collection[str]
) -> str | None:
    """Return the path that a name stands for; None where only a state of optax has it."""
    below = [path for path in ending(known, name) if known[path] is not None]
    states = hidden(optimizer, name)
    if name in known:
        others = [path for path in below if path not in together]
        if others or states or (name == "learning_rate" and _wraps_constants(optimizer)):
            raise _is_not_all(optimizer, name, others)
        return name
    paths = below or ending(known, name)
    if len(paths) + len(states) > 1:
        raise several(optimizer, name, paths)
    if paths:
        return paths[0]
    if states:
        return None
    is_of_state = hasattr(optimizer, name)
    what = "is part of the state" if is_of_state else "has no hyperparameter and no state"
    raise AttributeError(
        f"{name} of {optimizer!r} {what}: replace that (`optimizer.replace(state=...)`)."
        if is_of_state
        else f"{optimizer!r} {what} {name!r}. The hyperparameters of what optax or another library has "
        "made are constants; `opax.inject_hyperparams` makes arrays of them."
    )


def _wraps_constants(optimizer: Any) -> bool:
    """Say whether a transformation was made by optax, whose hyperparameters are constants."""
    calls = [x for _, x in plain_call(optimizer).items() if isinstance(x, Call)]
    return any(call.function is given for call in calls)


def _is_not_all(optimizer: Any, name: str, others: list[str]) -> AttributeError:
    if not others:
        return AttributeError(
            f"{optimizer!r} uses {name!r} beside a transformation that optax made, whose own is a "
            "constant and would stay: make that with the names of opax."
        )
    every = ", ".join(f"{path!r}: ..." for path in [name, *others])
    return AttributeError(
        f"{optimizer!r} has {len(others) + 1} of the name {name!r}, which are used together: "
        f"{', '.join([name, *others])}. Replace all of them in one call "
        f"(`optimizer.replace(**{{{every}}})`)."
    )


def _follows(optimizer: Any, path: str) -> AttributeError:
    return AttributeError(
        f"{path} of {optimizer!r} follows a schedule, which is part of what is compiled: give another "
        "schedule (`opax.schedule.constant_schedule(0.1)`), or make a new optimizer."
    )


def _inject(optimizer: Any, state: Any, name: str, value: Any) -> Any:
    """Return the optimizer with another value in a state of `inject_hyperparams`."""
    if name in state.hyperparams_states:
        raise _follows(optimizer, name)
    old = jnp.asarray(state.hyperparams[name])
    new = _number(optimizer, name, value)
    if jnp.issubdtype(old.dtype, jnp.integer) and new.dtype != old.dtype:
        raise AttributeError(
            f"{name} of {optimizer!r} is an integer, which {value!r} is not: make a new optimizer."
        )

    def change(inner: Any) -> Any:
        if inner is not state:
            return inner
        held = {**inner.hyperparams, name: jnp.asarray(new, old.dtype)}
        return inner._replace(hyperparams=held)

    copy = optimizer.copy()
    copy.state = jax.tree.map(change, optimizer.state, is_leaf=is_injected)
    return copy


def _with_number(optimizer: Any, path: str, value: Any) -> Any:
    array = _as_array(optimizer, path, value)
    if path in optimizer.hyperparams:
        copy = optimizer.copy()
        copy.hyperparams = {**optimizer.hyperparams, path: array}
    else:
        copy = optimizer._with(optimizer.transformation.replaced(path, array), optimizer.state)
    if path in _read_when_made(copy):
        raise AttributeError(
            f"{path} of {optimizer!r} is read when the state is made, and the state that is there was "
            "made with the old value: make a new optimizer."
        )
    return copy


def _as_array(optimizer: Any, path: str, value: Any) -> Any:
    return as_array(_number(optimizer, path, value))


def _number(optimizer: Any, path: str, value: Any) -> Any:
    try:
        number = jnp.asarray(value)
    except (TypeError, ValueError):
        number = None
    real = (jnp.integer, jnp.floating)
    if number is None or not any(jnp.issubdtype(number.dtype, sort) for sort in real):
        raise AttributeError(
            f"{path} of {optimizer!r} is a number, and {value!r} is none: make a new optimizer."
        )
    return number


def as_array(value: Any) -> jax.Array:
    """Return a hyperparameter in the dtype that all of them have, whatever the parameters have."""
    return jnp.asarray(value, dtype=jnp.result_type(float))


def _with_schedule(optimizer: Any, path: str, schedule: Any) -> Any:
    """Return the optimizer with another schedule, which goes on at the same step."""
    return optimizer._with(optimizer.transformation.replaced(path, schedule), optimizer.state)


def _read_when_made(optimizer: Any) -> Collection[str]:
    """Return the hyperparameters that are read when the state is made, or are needed as numbers.

    Found out by tracing, once for each template.
    """
    template, params = optimizer.template, optimizer.made_for.like
    if params is None:
        return ()
    known = vars(template).setdefault("_read_when_made", {})
    key = tuple((x.shape, x.dtype) for x in jax.tree.leaves(params))
    if key not in known:
        known[key] = _find_read(template, optimizer.hyperparams, params)
    return known[key]


def _find_read(template: Any, hyperparams: dict[str, Any], params: Any) -> Collection[str]:
    def init(hyperparams: dict[str, Any], params: Any) -> Any:
        with usual_promotion():
            return jax.tree.leaves(template.fill_by_name(hyperparams).as_optax().init(params))

    leaves, structure = pax_tree.tree_flatten((hyperparams, params))
    try:  # JAX keeps the structures of arguments: it gets leaves only
        program = jax.make_jaxpr(lambda *leaves: init(*structure.unflatten(leaves)))(*leaves).jaxpr
    except jax.errors.ConcretizationTypeError:
        return _needed(template, hyperparams, params, init)
    used = set(map(id, program.outvars))
    for equation in reversed(program.eqns):
        if any(id(x) in used for x in equation.outvars):
            used |= set(map(id, equation.invars))
    return {
        name for name, x in zip(sorted(hyperparams), program.invars, strict=False) if id(x) in used
    }


def _needed(template: Any, hyperparams: dict[str, Any], params: Any, init: Any) -> Collection[str]:
    """Return the hyperparameters whose values are needed before there is a state."""
    needed = set()
    leaves, structure = pax_tree.tree_flatten(params)
    for name in hyperparams:
        try:
            jax.eval_shape(
                lambda x, *leaves, name=name: init(
                    {**hyperparams, name: x}, structure.unflatten(leaves)
                ),
                hyperparams[name],
                *leaves,
            )
        except jax.errors.ConcretizationTypeError:
            needed.add(name)
    return needed
