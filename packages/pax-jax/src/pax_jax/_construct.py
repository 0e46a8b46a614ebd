"""What happens around a module's `__init__`: defaults before it, checks after it."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from pax_jax._kinds import MODULE, check_class_attribute, classify
from pax_jax._sharing import check_unshared
from pax_tree import Record, record_set, record_spec

_CONTAINERS = (list, dict, deque)


class _Depth(threading.local):
    """How many constructors of modules are running in this thread."""

    value = 0


_depth = _Depth()


class ModuleType(type(Record)):
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

    def __setattr__(cls, name: str, value: Any) -> None:
        """Set a class attribute that is neither an array nor a module."""
        check_class_attribute(cls.__name__, name, value)
        super().__setattr__(name, value)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make a module, then check it; arrays held twice are looked for once, in the outermost."""
        _depth.value += 1
        try:
            module = super().__call__(*args, **kwargs)
            _settle_containers(module)
        finally:
            _depth.value -= 1
        if _depth.value == 0 and cls._checks_sharing:
            check_unshared(module)
        return module


def _settle_containers(module: Any) -> None:
    """Classify lists and dicts again: `__init__` may have filled them after it assigned them."""
    names = [name for name, value in vars(module).items() if isinstance(value, _CONTAINERS)]
    if not names:
        return
    spec = record_spec(module)
    kinds = dict(zip(spec.names, spec.kinds, strict=True))
    for name in names:
        if kinds.get(name, MODULE) == MODULE:  # static ones too
            value = getattr(module, name)
            record_set(module, name, value, classify(module, name, value))
