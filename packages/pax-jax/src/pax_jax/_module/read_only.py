"""What modules hold as it is read where a write to it would be lost, or would not be known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pax_jax._module.forms import Forms, is_form, plain_of, refill
from pax_jax._module.scope import scope_error
from pax_tree._C import _tell_captured


def read_only(module: Any, name: str, value: Any) -> Any:
    """Return a container, and those inside it, in a form that raises when it is written to.

    The form is of a subclass, and a pytree of the same leaves; `jax.tree.map`, copies and slices give
    plain containers.

    Args:
        module: of which it is an attribute, in another scope than the present one.
        name: of the attribute.
        value: a container of a class of Python's own, an array of NumPy, or an object that has nothing
            but attributes, such as a dataclass; another value is returned as it is.
    """
    if isinstance(value, np.ndarray):
        return _read_only_array(value)
    return _READ_ONLY.of((module, name), value, lambda item: read_only(module, name, item))


def telling(module: Any, name: str, value: Any) -> Any:
    """Return a container in a form that passes on what is written to it, and says so.

    A module that a kept program has read as a constant has such containers: after a write the program
    must not be used again. Arrays of NumPy, which cannot say so, are read only.

    Args:
        module: of which it is an attribute.
        name: of the attribute.
        value: as for `read_only`.
    """
    if isinstance(value, np.ndarray):
        return _read_only_array(value)
    return _TELLING.of((module, name), value, lambda item: telling(module, name, item))


def _read_only_array(value: np.ndarray) -> np.ndarray:
    view = value.view()
    view.flags.writeable = False
    return view


def _refuse(form: Any, _: Callable[[Any], Any]) -> Any:
    module, name, _ = form._owner
    raise scope_error(module, name)


def _pass_on(form: Any, write: Callable[[Any], Any]) -> Any:
    module, name, target = form._owner
    try:
        return write(target)
    finally:
        refill(form, target, lambda item: telling(module, name, item))
        _tell_captured(module, name)


_READ_ONLY = Forms("ReadOnly", _refuse)
_TELLING = Forms("Telling", _pass_on)


def own(value: Any) -> Any:
    """Return `value` without the forms of this file, as a module that is given it holds it."""
    return _own(value, set())


def _own(value: Any, around: set[int]) -> Any:
    """Return the same of what stands in containers of these identities."""
    if is_form(value):
        target = value._owner[2]
        tells = type(value) is _TELLING.class_of(type(target))
        return target if tells else plain_of(value, lambda item: _own(item, around))
    if (not isinstance(value, tuple) and type(value) not in (list, dict)) or id(value) in around:
        return value
    around = around | {id(value)}
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
    new = {key: _own(item, around) for key, item in pairs}
    changed = [key for key, item in pairs if new[key] is not item]
    if isinstance(value, tuple):
        return tuple.__new__(type(value), new.values()) if changed else value
    for key in changed:
        value[key] = new[key]
    return value
