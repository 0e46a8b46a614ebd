"""Parameters of converted modules that are made from an example of the inputs."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import jax

import pax_tree
from pax_jax._trees import copy_tree

T = TypeVar("T")


class _Phase(threading.local):
    """Whether `hk_init` is running in this thread."""

    initializing = False


phase = _Phase()


def hk_init(module: T, *args: Any, enable_jit: bool = False, **kwargs: Any) -> T:
    """Return a copy in which the converted modules have their parameters.

    Needed once, before `parameters()`, for a module that is or holds modules of `from_haiku` or
    `from_flax` that were made without an example of their inputs. Nothing else changes: neither
    counters and averages of the module nor this module itself.

    Args:
        module: this module.
        *args: an example of the module's inputs; its shapes and dtypes decide.
        enable_jit: whether to run the call under `jax.jit`.
        **kwargs: keyword arguments that go with it.

    Returns:
        The copy.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> net = pax.Sequential(pax.Linear(2, 3))
        >>> net.hk_init(jnp.ones((1, 2))) == net  # nothing was to be made
        True
    """

    def run(module: Any, args: Any, kwargs: Any) -> Any:
        module = copy_tree(module)
        before, phase.initializing = phase.initializing, True
        try:
            module(*args, **kwargs)
        finally:
            phase.initializing = before
        return module

    made = (jax.jit(run) if enable_jit else run)(module, args, kwargs)
    return _with_leaves_of(module, made)


def _with_leaves_of(before: Any, after: Any) -> Any:
    """Return `after` with the leaves that stand in `before` at the same paths."""
    known = {tuple(path): leaf for path, leaf in pax_tree.tree_leaves_with_path(before)}
    leaves, treedef = pax_tree.tree_flatten_with_path(after)
    kept = [known.get(tuple(path), leaf) for path, leaf in leaves]
    return pax_tree.tree_unflatten(treedef, kept)
