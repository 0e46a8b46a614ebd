"""A copy of a module that is changed in a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from pax_jax._edit import EditMethods

T = TypeVar("T", bound=EditMethods)


@contextmanager
def mutable(module: T) -> Iterator[T]:
    """Give a copy of `module` that can be changed in the block, and that is checked at its end.

    Args:
        module: it stays as it is.

    Raises:
        ValueError: the changed copy holds an array or a module twice, or what else `scan_bugs` finds.
        TypeError: as `scan_bugs`.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> net = pax.Linear(1, 2)
        >>> with pax.mutable(net) as changed:
        ...     changed.bias = jnp.ones(2)
        >>> net.bias, changed.bias
        (Array([0., 0.], dtype=float32), Array([1., 1.], dtype=float32))
    """
    copy = module.copy()
    yield copy
    copy.scan_bugs()  # type: ignore[attr-defined]
