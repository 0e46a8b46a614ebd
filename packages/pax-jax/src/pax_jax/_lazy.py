"""A module whose parts are made at the first call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pax_jax._module import Module

T = TypeVar("T")


class LazyModule(Module):
    """A module that makes its submodules when it first needs them.

    Args:
        training: whether it is in training mode.
        name: shown when the module is printed.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> class Net(pax.LazyModule):
        ...     def __call__(self, x):
        ...         layer = self.get_or_create("layer", lambda: pax.Linear(x.shape[-1], 2))
        ...         return layer(x)
        >>> net, y = Net() % jnp.ones((1, 3))
        >>> net.layer
        Linear(in_dim=3, out_dim=2, with_bias=True)
    """

    def __init__(self, *, training: bool = True, name: str | None = None) -> None:
        super().__init__(name=name)
        self.training = training

    def get_or_create(self, name: str, create_fn: Callable[[], T]) -> T:
        """Return an attribute, which is made and assigned first if the module does not have it.

        Args:
            name: the attribute.
            create_fn: makes its value: a module, an array, or what else an attribute may be.

        Raises:
            TypeError: `create_fn` cannot be called.
            RuntimeError: the attribute is to be made where the module cannot be changed (see `Module`).
        """
        if not callable(create_fn):
            raise TypeError(
                f"get_or_create expects a function that makes {name!r}, got {create_fn!r} "
                f"of type {type(create_fn).__name__}."
            )
        if not hasattr(self, name):
            setattr(self, name, create_fn())
        return getattr(self, name)

    def parameters(self) -> Any:
        """Return this module with every leaf that is not a parameter replaced by `None`.

        Raises:
            ValueError: nothing has been made yet.
        """
        if not vars(self).keys() - {"training", "name"} - _field_names(self):
            raise ValueError(
                f"{self!r} has made none of its parts yet, so it has no parameters. Call it first: "
                "`module, _ = module % inputs`."
            )
        return super().parameters()


def _field_names(module: Any) -> set[str]:
    return set(getattr(module, "__dataclass_fields__", ()))
