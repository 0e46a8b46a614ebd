"""A recurrent core over a sequence."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import pax_tree
from pax_jax._kinds import MODULE, is_module
from pax_tree import record_flatten


def dynamic_unroll(
    core: Any,
    input_sequence: Any,
    initial_state: Any,
    time_major: bool = True,
    reverse: bool = False,
    return_all_states: bool = False,
    unroll: int = 1,
) -> tuple[Any, Any]:
    """Call a recurrent core for every step of a sequence, in one `jax.lax.scan`.

    As `haiku.dynamic_unroll`. What the core changes in itself (a random key, say) is kept.

    Args:
        core: a module, called as `core(inputs, state)`, that returns an output and the next state.
        input_sequence: pytree of arrays `(time, batch, ...)`.
        initial_state: the state before the first step.
        time_major: whether time is the first axis of inputs and outputs; else it is the second.
        reverse: whether to go from the last step to the first.
        return_all_states: whether to return the states of all steps rather than the last one.
        unroll: how many steps one turn of the compiled loop makes.

    Returns:
        The outputs of all steps, and the last state or all states.

    Raises:
        ValueError: the core has no parameters yet.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> from pax_jax.haiku import dynamic_unroll
        >>> core = pax.haiku.gru(3)
        >>> outputs, state = dynamic_unroll(core, jnp.ones((7, 4, 3)), core.initial_state(4))
        >>> outputs.shape, state.shape
        ((7, 4, 3), (4, 3))
    """
    leaves, treedef = pax_tree.tree_flatten(core, none_is_leaf=True)
    trained = pax_tree.tree_leaves(core.parameters(), none_is_leaf=True)
    states = [i for i, leaf in enumerate(leaves) if leaf is not None and trained[i] is None]
    changed: set[int] = set()

    def step(carry: Any, inputs: Any) -> tuple[Any, Any]:
        values, state = carry
        now = dict(zip(states, values, strict=True))
        module = treedef.unflatten([now.get(i, leaf) for i, leaf in enumerate(leaves)])
        output, state = module(inputs, state)
        after = pax_tree.tree_leaves(module, none_is_leaf=True)
        if len(after) != len(leaves):
            raise ValueError(
                f"{core!r} makes its parameters at its first call, which cannot be inside of a "
                "loop. Give it an example of its inputs first: `core = core.hk_init(inputs, state)`."
            )
        changed.update(i for i in states if after[i] is not now[i])
        return ([after[i] for i in states], state), (output, state if return_all_states else None)

    start = ([leaves[i] for i in states], initial_state)
    sequence = input_sequence if time_major else _swap_axes(input_sequence)
    (values, state), (outputs, all_states) = jax.lax.scan(
        step, start, sequence, reverse=reverse, unroll=unroll
    )
    for i, value in zip(states, values, strict=True):
        if i in changed:
            leaves[i] = value
    _absorb(core, treedef.unflatten(leaves))
    result = (outputs, all_states) if return_all_states else (outputs, state)
    return (
        result if time_major else (_swap_axes(outputs), _swapped_states(result, return_all_states))
    )


def _swap_axes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), tree)


def _swapped_states(result: Any, all_states: bool) -> Any:
    return _swap_axes(result[1]) if all_states else result[1]


def _absorb(module: Any, after: Any) -> None:
    """Assign to `module` what differs in `after`, a module of the same structure."""
    children, spec = record_flatten(module)
    others, _ = record_flatten(after)
    for name, kind, child, other in zip(spec.names, spec.kinds, children, others, strict=True):
        if kind == MODULE:
            pairs = zip(_modules(child), _modules(other), strict=True)
            for inner, inner_after in pairs:
                _absorb(inner, inner_after)
        elif _differs(child, other):
            setattr(module, name, other)


def _modules(tree: Any) -> list[Any]:
    return pax_tree.tree_leaves(tree, is_leaf=is_module)


def _differs(tree: Any, other: Any) -> bool:
    pairs = zip(pax_tree.tree_leaves(tree), pax_tree.tree_leaves(other), strict=True)
    return any(a is not b for a, b in pairs)
