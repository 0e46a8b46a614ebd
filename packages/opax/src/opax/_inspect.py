"""What optimizers hold: hyperparameters and states by name, transformations by index, as a drawing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

import pax_tree
from opax._call import Call, given, signature
from opax._compat import chain_labels
from opax._params import usual_promotion
from pax_jax import Module, Optimizer, StateModule

_MAY_FOLLOW_SCHEDULES = {"learning_rate", "weight_decay", "momentum", "step_size", "step_size_fn"}


def find(optimizer: Any, name: str) -> Any:
    """Return a hyperparameter or a field of the state by name or by path.

    Raises:
        AttributeError: there is none, or more than one.
    """
    injected = [state.hyperparams[name] for state in _injected(optimizer.state, name)]
    if len(injected) == 1:
        return injected[0]
    call = _call(optimizer)
    own = dict(_own_arguments(call))
    if name in own:
        return _value(optimizer, name, own[name])
    if name in getattr(optimizer.state, "_fields", ()):
        return getattr(optimizer.state, name)
    arguments = {path: x for path, x in _arguments(call) if x is not None}
    found = injected or [_value(optimizer, p, arguments[p]) for p in _ending(arguments, name)]
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
    arguments = dict(_arguments(_call(optimizer)))
    paths = [name] if name in arguments else _ending(arguments, name)
    paths = [path for path in paths if arguments[path] is not None] or paths
    if len(paths) != 1:
        raise _unknown(optimizer, name, len(paths))
    path, value = paths[0], arguments[paths[0]]
    if path not in optimizer.hyperparams and not isinstance(value, float):
        reason = "follows a schedule" if callable(value) else f"is {value!r}"
        raise AttributeError(
            f"{path} of {optimizer!r} {reason}, which is part of what is compiled: make a new "
            "optimizer for another."
        )
    return path, False


def weight_decays(template: Any) -> bool:
    """Say whether a transformation may change parameters that have no gradient by weight decay."""
    if template.function is given:
        return True
    arguments = _arguments(template.fill([True] * len(template.names)))
    return any("weight_decay" in path and value for path, value in arguments)


def inject(state: Any, name: str, value: Any) -> Any:
    """Return optax's state with another value for a hyperparameter that it holds."""

    def change(inner: Any) -> Any:
        if not _is_injected(inner) or name not in inner.hyperparams:
            return inner
        old = inner.hyperparams[name]
        return inner._replace(
            hyperparams={**inner.hyperparams, name: jnp.asarray(value, jnp.result_type(old))}
        )

    return jax.tree.map(change, state, is_leaf=_is_injected)


def _injected(state: Any, name: str) -> list[Any]:
    leaves = jax.tree.leaves(state, is_leaf=_is_injected)
    return [x for x in leaves if _is_injected(x) and name in x.hyperparams]


def _is_injected(state: Any) -> bool:
    return isinstance(state, optax.InjectStatefulHyperparamsState)


def _call(optimizer: Any) -> Any:
    return optimizer.template.fill_by_name(optimizer.hyperparams)


def _arguments(call: Call, start: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the arguments of a transformation, and of those inside it, by path."""
    for path, value in call.items():
        if isinstance(value, call.template.kind):
            yield from _arguments(value, f"{start}{path}.")
    for name, value in _own_arguments(call):
        yield start + name, value


def _own_arguments(call: Call) -> Iterator[tuple[str, Any]]:
    arguments = call.arguments
    for name, parameter in signature(call.function).parameters.items():
        value = arguments.get(name, parameter.default)
        if value is not parameter.empty and not isinstance(value, tuple):
            yield name, value


def _ending(arguments: dict[str, Any], name: str) -> list[str]:
    return [path for path in arguments if path.endswith(f".{name}")]


def _value(optimizer: Any, path: str, value: Any) -> Any:
    if not callable(value) or path.rpartition(".")[2] not in _MAY_FOLLOW_SCHEDULES:
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


def _unknown(optimizer: Any, name: str, number: int) -> AttributeError:
    if not number:
        return AttributeError(f"{optimizer!r} has no hyperparameter and no state {name!r}.")
    call = _call(optimizer)
    paths = _ending(dict(_arguments(call)), name) or [f"0.{name}"]
    return AttributeError(
        f"{optimizer!r} has {number} of the name {name!r}: {', '.join(paths)}. Read it from one "
        f"transformation (`optimizer[0]`), replace it by its path "
        f"(`optimizer.replace(**{{{paths[0]!r}: 0.1}})`)."
    )


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
    call, state = _call(optimizer), optimizer.state
    inside = _INSIDE.get(getattr(call.function, "__name__", ""))
    if inside is not None:
        return {
            label: optimizer._of(inner.template, inner.hyperparams, optimizer.structure, x)
            for label, inner, x in inside(call, state)
        }
    if not isinstance(state, tuple) or hasattr(state, "_fields"):
        return {}
    labels = chain_labels(optimizer.transformation.made.update, state)
    return {
        i: x if isinstance(x, Optimizer) else Part(labels[i], optimizer, x)
        for i, x in enumerate(state)
    }


def _slice(optimizer: Any, chosen: list[Any]) -> Any:
    """Make an optimizer of some transformations of a chain; of an alias, whose are no chain, a list."""
    call = _call(optimizer)
    if getattr(call.function, "__name__", "") != "chain":
        return chosen
    call = call.with_arguments(args=tuple(map(_call, chosen)))
    states = tuple(inner.state for inner in chosen)
    return optimizer._of(call.template, call.hyperparams, optimizer.structure, states)


def _in_field(argument: str, field: str) -> Callable[..., Any]:
    return lambda call, state: [(0, call.arguments[argument], getattr(state, field))]


def _in_groups(call: Call, state: Any) -> list[tuple[Any, Any, Any]]:
    groups, states = call.arguments["transforms"], state.inner_states
    return [(label, tx, states[label].inner_state) for label, tx in groups.items()]


def _in_args(call: Call, state: Any) -> list[tuple[Any, Any, Any]]:
    return [(i, tx, state[i]) for i, tx in enumerate(call.arguments.get("args", ()))]


def _in_named_args(call: Call, state: Any) -> list[tuple[Any, Any, Any]]:
    return [(name, tx, state[name]) for name, tx in call.arguments.get("args", ())]


# The transformations that are made of others: the labels of those, those, and their states.
_INSIDE: dict[str, Callable[..., Any]] = {
    "chain": _in_args,
    "named_chain": _in_named_args,
    "partition": _in_groups,
    "multi_transform": _in_groups,
    "masked": _in_field("inner", "inner_state"),
    "apply_if_finite": _in_field("inner", "inner_state"),
    "MultiSteps": _in_field("opt", "inner_opt_state"),
}


def summary_lines(optimizer: Any) -> list[str]:
    """Return a line for an optimizer, and those of what it is made of, indented as a tree."""
    inner = [] if isinstance(optimizer, Part) else list(parts(optimizer).values())
    if not inner:
        return _tree(
            repr(optimizer), [x.summary(return_list=True) for x in _modules(optimizer.state)]
        )
    name = repr(optimizer)
    if not any(
        isinstance(x, Part) for x in inner
    ):  # made of optimizers, which say their arguments themselves
        name = name.partition("(")[0]
    return _tree(name, [summary_lines(x) for x in inner])


def _tree(head: str, below: list[list[str]]) -> list[str]:
    lines = [head]
    for i, (first, *rest) in enumerate(below):
        corner, bar = ("└── ", "    ") if i == len(below) - 1 else ("├── ", "│   ")
        lines += [corner + first, *(bar + line for line in rest)]
    return lines


def _modules(state: Any) -> list[Any]:
    leaves = pax_tree.tree_leaves(state, is_leaf=lambda x: isinstance(x, Module))
    return [leaf for leaf in leaves if isinstance(leaf, Module)]
