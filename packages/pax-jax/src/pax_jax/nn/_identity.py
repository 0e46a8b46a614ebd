"""The identity as a module."""

from __future__ import annotations

from typing import Any

from pax_jax._module import Module


class Identity(Module):
    """A module that returns its input.

    Args:
        name: shown when the module is printed.

    Example:
        >>> import pax_jax as pax
        >>> pax.Identity()(3)
        3
    """

    def __call__(self, x: Any) -> Any:
        """Return `x`."""
        return x
