"""Classes made from a module's class while the program runs, which pickle by how they were made."""

from __future__ import annotations

import copyreg
import weakref
from collections.abc import Callable
from typing import Any, cast

from pax_jax._construct import ModuleType
from pax_tree import record_flatten, record_unflatten

Methods = dict[str, Any]

_made: weakref.WeakValueDictionary[Any, Any] = weakref.WeakValueDictionary()


def derive(make: Callable[..., type], *args: Any, methods: Callable[[], Methods]) -> type:
    """Return the subclass of a class of modules that `make(*args)` stands for.

    Args:
        make: the function that asks for it, by which it is pickled.
        *args: the class, and what else `make` takes, hashable; equal arguments give one class.
        methods: returns what the class defines.
    """
    cls = _made.get((make, args))
    if cls is None:
        base: Any = args[0]
        names = {name: getattr(base, name) for name in ("__module__", "__qualname__", "__doc__")}
        made = type(base)(base.__name__, (base,), {**names, **methods(), "_recipe": (make, args)})
        cls = _made.setdefault((make, args), made)
    return cls


def with_methods(base: type, methods: tuple[tuple[str, Any], ...]) -> type:
    """Return the subclass of `base` with these methods."""
    return derive(with_methods, base, methods, methods=lambda: dict(methods))


def with_class(module: Any, cls: type, **statics: Any) -> Any:
    """Return a copy of `module` of another class, with static attributes set; `None` drops one."""
    children, old = record_flatten(module)
    make, (_, names, kinds, kept) = cast(Any, old.__reduce__())
    changed = {name: value for name, value in statics.items() if value is not None}
    kept = {name: value for name, value in kept.items() if name not in statics}
    return record_unflatten(make(cls, names, kinds, kept | changed), children)


def _reduce(cls: Any) -> Any:
    recipe = vars(cls).get("_recipe")
    return cls.__qualname__ if recipe is None else recipe


copyreg.pickle(ModuleType, _reduce)  # type: ignore[arg-type]
