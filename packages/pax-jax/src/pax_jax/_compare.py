"""Equality of leaves."""

from __future__ import annotations

from typing import Any

from ._kinds import is_array

__all__ = ["same_leaf"]


def same_leaf(a: Any, b: Any) -> bool:
    """Say whether two leaves are equal; arrays in shape, dtype and every element."""
    if a is b:
        return True
    if not (is_array(a) and is_array(b)):
        return type(a) is type(b) and bool(a == b)
    return a.shape == b.shape and a.dtype == b.dtype and bool((a == b).all())
