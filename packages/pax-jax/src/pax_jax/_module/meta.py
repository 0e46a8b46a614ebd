"""The class of module classes: what happens around `__init__`, and classes made while the program runs."""

from __future__ import annotations

import copyreg
import inspect
import threading
import weakref
from abc import ABCMeta
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from pax_jax._module.kinds import MODULE, check_class_attribute, classify
from pax_jax._module.read_only import own
from pax_jax._module.tied import check_unshared
from pax_tree import Record, record_flatten, record_set, record_spec, record_unflatten

T = TypeVar("T")
Methods = dict[str, Any]

# Of which that of abstract classes is a base, so that modules may also be either.
_ProtocolType = ABCMeta if TYPE_CHECKING else type(Protocol)

_CONTAINERS = (list, dict, deque)

# The classes that were made while the program runs, by how they were made.
_made: weakref.WeakValueDictionary[Any, Any] = weakref.WeakValueDictionary()


class _Depth(threading.local):
    """How many constructors of modules are running in this thread."""

    value = 0


_depth = _Depth()


class ModuleType(_ProtocolType):
    """The class of module classes."""

    _checks_sharing: bool

    def __new__(
        mcs, name: str, bases: tuple[type, ...], names: dict[str, Any], **kwargs: Any
    ) -> Any:
        """Make a class of modules, if it keeps its attributes where JAX sees them."""
        if "__slots__" in names:
            raise TypeError(
                f"The class {name} defines __slots__, which JAX would not see: a module's attributes "
                "are the nodes of a pytree. Leave __slots__ out (for a dataclass, `slots=True`)."
            )
        for attribute, value in names.items():
            check_class_attribute(name, attribute, value)
        return super().__new__(mcs, name, bases, names, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        """Say whether an object is of the class, or of one that was registered with it."""
        return ABCMeta.__instancecheck__(cls, instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        """Say whether a class is derived from this one, or registered with it."""
        return ABCMeta.__subclasscheck__(cls, subclass)

    def __setattr__(cls, name: str, value: Any) -> None:
        """Set a class attribute that is neither an array nor a module."""
        check_class_attribute(cls.__name__, name, value)
        super().__setattr__(name, value)

    def __call__(cls: type[T], *args: Any, **kwargs: Any) -> T:
        """Make a module, then check it; arrays held twice are looked for once, in the outermost."""
        _depth.value += 1
        try:
            module = super().__call__(*args, **kwargs)
            if not issubclass(type(module), Record):  # so its `__new__` says
                return module
            settle_containers(module)
        finally:
            _depth.value -= 1
        if _depth.value == 0 and cast(Any, cls)._checks_sharing:
            check_unshared(module)
        return module

    @property
    def __signature__(cls) -> inspect.Signature:
        """The signature of the constructor, where `inspect`, `help` and editors look for it."""
        return constructor_signature(cls)


def constructor_signature(cls: type) -> inspect.Signature:
    """Return what the class is called with: that of the `__init__`, or else `__new__`, nearest to it.

    `inspect` by itself finds the `__call__` of the metaclass, and then `Module.__new__`.
    """
    # The __init__ of a protocol calls the next one.
    bases = [vars(base) for base in cls.__mro__ if not vars(base).get("_is_protocol")]
    names = ("__signature__", "__init__", "__new__")
    found = next(base[name] for base in bases for name in names if name in base)
    if isinstance(found, inspect.Signature):
        return found
    return inspect.signature(getattr(found, "__func__", found).__get__(object()))


def settle_containers(module: Any) -> None:
    """Classify lists and dicts again, which may have been filled after they were assigned."""
    names = [name for name, value in vars(module).items() if isinstance(value, _CONTAINERS)]
    if not names:
        return
    spec = record_spec(module)
    kinds = dict(zip(spec.names, spec.kinds, strict=True))
    for name in names:
        if kinds.get(name, MODULE) == MODULE:  # static ones too
            value = own(getattr(module, name))
            record_set(module, name, value, classify(module, name, value))


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
