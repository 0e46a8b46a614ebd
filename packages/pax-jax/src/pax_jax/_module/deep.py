"""Recursion over modules that is no deeper in Python than one call, however deep the modules are nested."""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterator
from typing import Any

import pax_tree
from pax_jax._module.kinds import is_module
from pax_tree import record_flatten

# A function that calls itself, written as a generator: it yields its calls, is sent their results and
# returns its own.
Steps = Generator[Any, Any, Any]


def run(steps: Steps) -> Any:
    """Return what a recursive function returns that yields its calls instead of making them."""
    stack, value = [steps], None
    error: BaseException | None = None
    while stack:
        try:
            called = stack[-1].send(value) if error is None else stack[-1].throw(error)
        except StopIteration as end:
            stack.pop()
            value, error = end.value, None
        except BaseException as raised:  # goes to who has made the call
            stack.pop()
            if not stack:
                raise
            error = raised
        else:
            stack.append(called)
            value = error = None
    return value


def map_modules(call: Callable[[Any], Steps], tree: Any, other: Callable[[Any], Any]) -> Steps:
    """Call a recursive function of the outermost modules of a tree, and another one of what is in none."""
    leaves, structure = pax_tree.tree_flatten(tree, is_leaf=is_module)
    changed = []
    for leaf in leaves:
        if is_module(leaf):
            changed.append((yield call(leaf)))
        else:
            changed.append(other(leaf))
    return structure.unflatten(changed)


def unchanged(leaf: Any) -> Any:
    """Return what was given."""
    return leaf


def modules_of(tree: Any, known: Container[int] = ()) -> Iterator[Any]:
    """Return the modules of a tree, those first that are around others.

    Args:
        tree: any pytree.
        known: identities of modules to leave out, with those inside them.
    """
    stack = [tree]
    while stack:
        leaves = pax_tree.tree_leaves(stack.pop(), is_leaf=is_module)
        found = [leaf for leaf in leaves if is_module(leaf) and id(leaf) not in known]
        yield from found
        stack += [record_flatten(module)[0] for module in reversed(found)]
