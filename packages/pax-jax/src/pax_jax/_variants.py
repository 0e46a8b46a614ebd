"""Classes made from a module's class while the program runs, which pickle by how they were made."""

from __future__ import annotations

import copyreg
import weakref
from collections.abc import Callable, Mapping
from typing import Any, cast

from pax_tree import record_flatten, record_unflatten

from ._construct import ModuleType

__all__ = ["derive", "with_class", "with_methods"]

_made: weakref.WeakValueDictionary[Any, Any] = weakref.WeakValueDictionary()


def derive(base: type, make: Callable[..., type], *args: Any, **methods: Any) -> type:
    """Return the subclass of `base` with some methods; the same one for the same methods.

    Args:
      base: a class of modules.
      make: the function that makes this class when a pickle is read.
      *args: what to give it.
      **methods: what the class defines.

    """
    key = (base, make, frozenset(methods.items()))
    cls = _made.get(key)
    if cls is None:
        names = {"__module__": base.__module__, "__qualname__": base.__qualname__}
        recipe = {"_recipe": (make, args), "__doc__": base.__doc__}
        metaclass: Any = type(base)
        cls = metaclass(base.__name__, (base,), {**names, **recipe, **methods})
        cls = _made.setdefault(key, cls)
    return cls


def with_class(module: Any, cls: type, **statics: Any) -> Any:
    """Return a copy of `module` of another class, with static attributes set."""
    children, old = record_flatten(module)
    make, (_, *structure) = old.__reduce__()
    spec = cast(Any, make)(cls, *structure)
    for name, value in statics.items():
        spec = spec.with_static(name, value)
    return record_unflatten(spec, children)


def with_methods(base: type, methods: Mapping[str, Callable[..., Any]]) -> type:
    """Return the subclass of `base` with these methods."""
    return derive(base, with_methods, base, dict(methods), **methods)


def _reduce(cls: Any) -> Any:
    recipe = vars(cls).get("_recipe")
    return cls.__qualname__ if recipe is None else recipe


copyreg.pickle(ModuleType, _reduce)  # type: ignore[arg-type]
