"""Equality of leaves."""

from __future__ import annotations

from typing import Any

import jax

from pax_jax._kinds import is_array


def same_leaf(a: Any, b: Any) -> bool:
    """Say whether two leaves are equal; arrays in shape, dtype and every element.

    A tracer equals only itself. JAX compares callables, and so the modules that are the branches of
    `jax.lax.cond`, while their values are not known.
    """
    if a is b:
        return True
    if isinstance(a, jax.core.Tracer) or isinstance(b, jax.core.Tracer):
        return False
    if not (is_array(a) and is_array(b)):
        return type(a) is type(b) and bool(a == b)
    return a.shape == b.shape and a.dtype == b.dtype and bool((a == b).all())
