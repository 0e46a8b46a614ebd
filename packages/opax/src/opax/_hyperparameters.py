"""Hyperparameters and states of optimizers by name, with the values that the next step uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.schedules
from jax.core import Tracer

from opax._call import Call, given, signature
from opax._params import usual_promotion

_MAY_FOLLOW_SCHEDULES = {"learning_rate", "weight_decay", "momentum", "step_size", "step_size_fn"}


def find(optimizer: Any, name: str) -> Any:
    """Return a hyperparameter or a field of the state by name or by path.

    Raises:
        AttributeError: there is none, or more than one.
    """
    held = optimizer.hyperparams.get(name)
    if isinstance(held, jax.Array) and not isinstance(optimizer.template.function, Call):
        return held  # its own, and no state of optax has another value of it
    call = call_in_use(optimizer)
    own = dict(_own_arguments(call))
    if name in own:
        return value_at(optimizer, name, own[name])
    if name in getattr(optimizer.state, "_fields", ()):
        return getattr(optimizer.state, name)
    known = {path: x for path, x in arguments(call) if x is not None}
    paths = [name] if name in known else ending(known, name)
    found = [value_at(optimizer, path, known[path]) for path in paths]
    found += [state.hyperparams[name] for state in hidden(optimizer, name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise several(optimizer, name, paths)
    return _of_state(optimizer, name)


def _of_state(optimizer: Any, name: str) -> Any:
    """Return a field of the states, which may stand in several; a counter is in all of them the same."""
    found = optax.tree.get_all_with_path(optimizer.state, name)
    if not found:
        raise AttributeError(f"{optimizer!r} has no hyperparameter and no state {name!r}.")
    if len(found) > 1 and not (name == "count" and _are_equal([value for _, value in found])):
        places = [jax.tree_util.keystr(path) for path, _ in found]
        raise AttributeError(
            f"{optimizer!r} has {len(found)} of the name {name!r} in its state, at "
            f"{', '.join(places)}: read it from one transformation (`optimizer[0].{name}`)."
        )
    return found[0][1]


def _are_equal(counts: list[Any]) -> bool:
    return any(isinstance(x, Tracer) for x in counts) or all(
        jnp.array_equal(x, counts[0]) for x in counts
    )


def names(optimizer: Any) -> list[str]:
    """Return the names by which hyperparameters and fields of states can be read."""
    known = {path.rpartition(".")[2] for path, _ in arguments(plain_call(optimizer))}
    states = jax.tree_util.tree_leaves_with_path(optimizer.state)
    known |= {key.name for path, _ in states for key in path if hasattr(key, "name")}
    return sorted(name for name in known if _can_be_read(optimizer, name))


def _can_be_read(optimizer: Any, name: str) -> bool:
    try:
        find(optimizer, name)
    except AttributeError:
        return False
    return True


def weight_decays(template: Any) -> bool:
    """Say whether a transformation may change parameters that have no gradient by weight decay."""
    if template.function is given:
        return True
    known = arguments(template.fill([True] * len(template.names)))
    return any("weight_decay" in path and value for path, value in known)


PER_EXAMPLE = {"differentially_private_aggregate", "dpsgd"}


def takes_examples(template: Any) -> bool:
    """Say whether a transformation may take one gradient for each example; one of optax always may."""
    known = vars(template).get("_takes_examples")
    if known is None:
        functions = [x for x, _ in functions_in(template.fill([0.0] * len(template.names)))]
        known = any(x is given or getattr(x, "__name__", "") in PER_EXAMPLE for x in functions)
        vars(template)["_takes_examples"] = known
    return known


def functions_in(call: Call) -> Iterator[tuple[Any, Call]]:
    """Yield the functions of optax that a transformation is made by, with their calls."""
    for inner in (call, *(inner for _, inner in _calls(call))):
        function = inner.function
        is_injected = isinstance(function, Call)
        yield function.arguments["inner_factory"] if is_injected else function, inner


def plain_call(optimizer: Any) -> Any:
    """Return the transformation with the hyperparameters that the optimizer holds itself."""
    return optimizer.template.fill_by_name(optimizer.hyperparams)


def call_in_use(optimizer: Any, given_only: bool = False) -> Any:
    """Return the transformation with the values that are used, also of what optax's state holds.

    Args:
        optimizer: an optimizer.
        given_only: leave out what is neither given nor replaced, for `repr`.
    """
    whole = plain_call(optimizer)
    for start, call, state in injected(whole, optimizer.state):
        held = {k: x for k, x in state.hyperparams.items() if k not in state.hyperparams_states}
        if given_only:
            held = {k: x for k, x in held.items() if k in call.arguments or _differs(call, k, x)}
        whole = call_at(whole, start, call.with_arguments(**held))
    return whole


def _differs(call: Call, name: str, value: Any) -> bool:
    default = signature(call.function).parameters[name].default
    return isinstance(value, Tracer) or not bool(
        jnp.all(jnp.asarray(default, value.dtype) == value)
    )


def call_at(whole: Call, path: str, call: Call) -> Call:
    """Return a transformation with another one at a path in it."""
    return whole.replaced(path, call) if path else call


def injected(call: Call, state: Any, start: str = "") -> Iterator[tuple[str, Call, Any]]:
    """Yield the calls whose hyperparameters optax's state holds: path, call and that state."""
    if isinstance(call.function, Call):  # what `inject_hyperparams` has returned
        if is_injected(state):
            yield start, call, state
        return
    inside = made_of(call, state)
    if inside is not None:
        for _, path, inner, inner_state in inside:
            yield from injected(inner, inner_state, f"{start}.{path}" if start else path)
        return
    # Of a wrapper that is not known here: no doubt where there is one of each.
    calls = [x for x in _calls(call) if isinstance(x[1].function, Call)]
    states = [x for x in jax.tree.leaves(state, is_leaf=is_injected) if is_injected(x)]
    if len(calls) == len(states) == 1 and states[0].hyperparams.keys() <= (
        signature(calls[0][1].function).parameters.keys()
    ):
        path, inner = calls[0]
        yield f"{start}.{path}" if start else path, inner, states[0]


def hidden(optimizer: Any, name: str) -> list[Any]:
    """Return the states of `inject_hyperparams` with a value of this name that no call is known of."""
    known = {id(state) for _, _, state in injected(plain_call(optimizer), optimizer.state)}
    leaves = jax.tree.leaves(optimizer.state, is_leaf=is_injected)
    return [x for x in leaves if is_injected(x) and name in x.hyperparams and id(x) not in known]


def is_injected(state: Any) -> bool:
    """Say whether a state is that of `inject_hyperparams`."""
    return isinstance(state, optax.InjectStatefulHyperparamsState)


def _calls(call: Call, start: str = "") -> Iterator[tuple[str, Call]]:
    """Yield the transformations inside of one, by path."""
    for path, value in call.items():
        if isinstance(value, call.template.kind):
            yield start + path, value
            yield from _calls(value, f"{start}{path}.")


def arguments(call: Call, start: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the arguments of a transformation, and of those inside it, by path."""
    for path, inner in _calls(call):
        for name, value in _own_arguments(inner):
            yield f"{start}{path}.{name}", value
    for name, value in _own_arguments(call):
        yield start + name, value


def _own_arguments(call: Call) -> Iterator[tuple[str, Any]]:
    own = call.arguments
    for name, parameter in signature(call.function).parameters.items():
        value = own.get(name, parameter.default)
        if value is not parameter.empty and not isinstance(value, tuple):
            yield name, value


def ending(known: dict[str, Any], name: str) -> list[str]:
    """Return the paths that end with a name."""
    return [path for path in known if path.endswith(f".{name}")]


def several(optimizer: Any, name: str, paths: list[str]) -> AttributeError:
    """Say that a name has several meanings."""
    path = (paths or [f"0.{name}"])[0]
    return AttributeError(
        f"{optimizer!r} has {max(len(paths), 2)} of the name {name!r}: {', '.join(paths)}. Read it "
        f"from one transformation (`optimizer[0]`), replace it by its path "
        f"(`optimizer.replace(**{{{path!r}: ...}})`)."
    )


def value_at(optimizer: Any, path: str, value: Any) -> Any:
    """Return the value at the next step of what may be a schedule."""
    start, _, name = path.rpartition(".")
    for at, _, state in injected(plain_call(optimizer), optimizer.state):
        if at == start and name in state.hyperparams_states:
            return _scheduled(value, state, name)
    if not callable(value) or name not in _MAY_FOLLOW_SCHEDULES:
        return value
    with usual_promotion():
        return jnp.asarray(value(_count(optimizer.state)))


def _scheduled(schedule: Any, state: Any, name: str) -> Any:
    last = state.hyperparams[name]
    if isinstance(
        schedule, optax.schedules.StatefulSchedule
    ):  # which may need what a step is given
        return last
    with usual_promotion():
        return jnp.asarray(schedule(state.hyperparams_states[name].count), jnp.result_type(last))


def _count(state: Any) -> Any:
    """Return the number of steps that a schedule has seen."""
    for name in ("ScaleByScheduleState", ""):
        for _, count in optax.tree.get_all_with_path(
            state, "count", lambda path, _, name=name: name in str(path)
        ):
            return count
    return 0


# The transformations that are made of others: the labels of those, their paths in the arguments, and
# their states.
def _in_field(argument: str, field: str) -> Callable[..., Any]:
    return lambda call, state: [(0, argument, getattr(state, field))]


def _in_groups(call: Call, state: Any) -> list[tuple[Any, str, Any]]:
    groups, states = call.arguments["transforms"], state.inner_states
    return [(label, f"transforms.{label}", states[label].inner_state) for label in groups]


def _in_args(call: Call, state: Any) -> list[tuple[Any, str, Any]]:
    return [(i, str(i), state[i]) for i in range(len(call.arguments.get("args", ())))]


def _in_named_args(call: Call, state: Any) -> list[tuple[Any, str, Any]]:
    args = call.arguments.get("args", ())
    return [(name, f"{i}.1", state[name]) for i, (name, _) in enumerate(args)]


_INSIDE: dict[str, Callable[..., Any]] = {
    "chain": _in_args,
    "named_chain": _in_named_args,
    "partition": _in_groups,
    "multi_transform": _in_groups,
    "masked": _in_field("inner", "inner_state"),
    "apply_if_finite": _in_field("inner", "inner_state"),
    "flattened": _in_field("inner", "inner_state"),
    "monitor_norms": _in_field("inner", "inner_state"),
    "MultiSteps": _in_field("opt", "inner_opt_state"),
}


def made_of(call: Call, state: Any) -> list[tuple[Any, str, Call, Any]] | None:
    """Return the transformations that one is made of: labels, paths, calls and states; else None."""
    inside = _INSIDE.get(getattr(call.function, "__name__", ""))
    if inside is None or isinstance(call.function, Call):
        return None
    calls = dict(_calls(call))
    return [(label, path, calls[path], x) for label, path, x in inside(call, state)]
