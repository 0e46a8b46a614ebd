"""Modules one after the other."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pax_jax._module.kinds import MODULE
from pax_jax._module.module import Module
from pax_jax._show.titles import title
from pax_jax.nn._lambda import Lambda
from pax_tree import record_flatten, record_set


def _as_module(item: Module | Callable[..., Any]) -> Module:
    if isinstance(item, Module) and not callable(item):
        raise TypeError(f"Sequential calls its items, and {title(item)} has no __call__.")
    return item if isinstance(item, Module) else Lambda(item)


class Sequential(Module):
    """Modules called one after the other, each with the output of the one before.

    Args:
        *modules: modules, or functions, which are wrapped in `Lambda`.
        name: shown when the module is printed.

    Raises:
        TypeError: an item cannot be called.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> net = pax.Sequential(pax.Linear(4, 8), jax.nn.relu, pax.Linear(8, 2))
        >>> net.modules[2] = pax.Linear(8, 3)
        >>> net(jnp.ones((5, 4))).shape
        (5, 3)
        >>> net[0], len(net[:2])
        (Linear(in_dim=4, out_dim=8, with_bias=True, ...), 2)
    """

    def __init__(self, *modules: Module | Callable[..., Any], name: str | None = None) -> None:
        super().__init__(name=name)
        self.modules = modules

    @property
    def modules(self) -> Items:
        """The modules; an item can be assigned (see `Module` for where that is allowed)."""
        return Items(self)

    @modules.setter
    def modules(self, modules: Iterable[Module | Callable[..., Any]]) -> None:
        record_set(self, "modules", tuple(map(_as_module, modules)), MODULE)

    def __call__(self, x: Any) -> Any:
        """Call the modules in order."""
        for module in _items(self):
            x = module(x)
        return x

    def __len__(self) -> int:
        return len(_items(self))

    def __getitem__(self, index: Any) -> Any:
        """Return a module, or for a slice a `Sequential` of the same modules."""
        items = _items(self)[index]
        return Sequential(*items) if isinstance(index, slice) else items

    def __setitem__(self, index: Any, module: Any) -> None:
        """Assign a module or a function; to a slice, a sequence of them."""
        self.modules[index] = module

    def __rshift__(self, module: Any) -> Sequential:
        """Return a `Sequential` of these modules and one more, or a function."""
        return Sequential(*_items(self), module)

    def set(self, index: Any, module: Any) -> Sequential:
        """Return a copy with another module, or function, at an index or slice.

        Example:
            >>> import jax
            >>> import pax_jax as pax
            >>> net = pax.Sequential(pax.Linear(4, 8), jax.nn.relu)
            >>> net.set(1, jax.nn.tanh)[1]
            Lambda(tanh)
        """
        copy = self.copy()
        copy[index] = module
        return copy


class Items(Sequence[Any]):
    """The modules of a `Sequential`; a slice, and the sum with another sequence, is a tuple of modules."""

    def __init__(self, owner: Sequential) -> None:
        self._owner = owner

    def __len__(self) -> int:
        return len(_items(self._owner))

    def __getitem__(self, index: Any) -> Any:
        return _items(self._owner)[index]

    def __setitem__(self, index: Any, module: Any) -> None:
        items = list(_items(self._owner))
        items[index if isinstance(index, slice) else operator.index(index)] = module
        self._owner.modules = items

    def __add__(self, other: Sequence[Any]) -> tuple[Any, ...]:
        return (*self, *other)

    def __radd__(self, other: Sequence[Any]) -> tuple[Any, ...]:
        return (*other, *self)

    def __repr__(self) -> str:
        return repr(list(self))


def _items(owner: Sequential) -> tuple[Any, ...]:
    children, spec = record_flatten(owner)
    return children[spec.names.index("modules")]
