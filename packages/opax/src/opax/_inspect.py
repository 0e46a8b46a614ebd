"""What optimizers are made of: their transformations by index or label, and as a drawing."""

from __future__ import annotations

from typing import Any

import jax

import pax_tree
from opax._compat import chain_labels
from opax._hyperparameters import find, made_of, names, plain_call
from pax_jax import Module, Optimizer, StateModule


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

    learning_rate: jax.Array
    count: jax.Array

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

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *names(self)]

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
    call, state = plain_call(optimizer), optimizer.state
    inside = made_of(call, state)
    if inside is not None:
        return {
            label: optimizer._of(inner.template, inner.hyperparams, optimizer.made_for, x)
            for label, _, inner, x in inside
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
    call = plain_call(optimizer)
    if getattr(call.function, "__name__", "") != "chain":
        return chosen
    call = call.with_arguments(args=tuple(map(plain_call, chosen)))
    states = tuple(inner.state for inner in chosen)
    return optimizer._of(call.template, call.hyperparams, optimizer.made_for, states)


def summary_lines(optimizer: Any) -> list[str]:
    """Return a line for an optimizer, and those of what it is made of, indented as a tree."""
    inner = [] if isinstance(optimizer, Part) else list(parts(optimizer).values())
    if not inner:
        modules = _modules(optimizer.state)
        return _tree(repr(optimizer), [_module_lines(x) for x in modules])
    name = repr(optimizer)
    if not any(
        isinstance(x, Part) for x in inner
    ):  # made of optimizers, which say their arguments themselves
        name = name.partition("(")[0]
    return _tree(name, [summary_lines(x) for x in inner])


def _module_lines(module: Module) -> list[str]:
    if isinstance(module, Optimizer):
        return module.summary(return_list=True)
    return module.summary(return_list=True, arrays=False)


def _tree(head: str, below: list[list[str]]) -> list[str]:
    lines = [head]
    for i, (first, *rest) in enumerate(below):
        corner, bar = ("└── ", "    ") if i == len(below) - 1 else ("├── ", "│   ")
        lines += [corner + first, *(bar + line for line in rest)]
    return lines


def _modules(state: Any) -> list[Any]:
    leaves = pax_tree.tree_leaves(state, is_leaf=lambda x: isinstance(x, Module))
    return [leaf for leaf in leaves if isinstance(leaf, Module)]
