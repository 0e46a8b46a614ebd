"""A module on one line: its class and its arguments. Messages name modules so."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from pax_tree import record_spec

WIDEST = 60  # characters of a static value


def title(module: Any) -> str:
    """Return the class of a module and its arguments, or what its own `__repr__` says, on one line."""
    return shortened(repr(module), 2 * WIDEST) if has_own_repr(module) else module._title


def title_of(module: Any) -> str:
    """Return what `Module._title` is: the class and the arguments named in `_shown`."""
    prefix = f"({module.name}) " if module.name is not None else ""
    names = module._shown or _static_fields(module)
    shown = ", ".join(f"{name}={shortened(str(getattr(module, name)))}" for name in names)
    return f"{prefix}{type(module).__name__}" + (f"({shown})" if shown else "")


def split(title: str) -> tuple[str, str]:
    """Return a title up to its last brackets, and the arguments in these."""
    if not title.endswith(")"):
        return title, ""
    depth, start = 0, len(title)
    while start > 0:
        start -= 1
        depth += {")": 1, "(": -1}.get(title[start], 0)
        if depth == 0:
            break
    return title[:start], title[start + 1 : -1]


def summary_title(module: Any) -> str:
    """Return the title, or what a class says of itself in summaries."""
    return getattr(module, "_summary_line", None) or title(module)


def has_own_repr(module: Any) -> bool:
    """Say whether the class of a module defines how it is printed."""
    method = type(module).__repr__
    return getattr(method, "__module__", "") != "pax_jax._module.module"


def other_statics(module: Any, training: bool = True) -> dict[str, str]:
    """Return the public static attributes that the title does not have, as text.

    Args:
        module: the module.
        training: what `module.training` is where nothing is said of it.
    """
    known = {"name", "training", *_static_fields(module), *_hidden_fields(module)}
    shown = {} if module.training == training else {"training": str(module.training)}
    if module._shown or type(module)._title.fget is not title_of:
        return shown
    return shown | {
        name: static_text(value)
        for name, value in record_spec(module).statics.items()
        if not name.startswith("_") and name not in known
    }


def _static_fields(module: Any) -> tuple[str, ...]:
    """Return the fields of a module that is a dataclass and that hold neither arrays nor modules."""
    statics = record_spec(module).statics
    return tuple(f.name for f in _fields(module) if f.repr and f.name in statics)


def _hidden_fields(module: Any) -> tuple[str, ...]:
    return tuple(f.name for f in _fields(module) if not f.repr)


def _fields(module: Any) -> tuple[Any, ...]:
    return dataclasses.fields(module) if dataclasses.is_dataclass(module) else ()


def static_text(value: Any) -> str:
    """Return a static value as text: a function or class by its name."""
    if isinstance(value, functools.partial):
        return f"partial({', '.join(_partial_parts(value))})"
    name = getattr(value, "__name__", None)
    if callable(value) and isinstance(name, str):
        return name
    return shortened(repr_or_error(value))


def _partial_parts(value: functools.partial[Any]) -> list[str]:
    named = [f"{name}={static_text(item)}" for name, item in value.keywords.items()]
    return [static_text(value.func), *map(static_text, value.args), *named]


def repr_or_error(value: Any) -> str:
    """Return the `repr`, or which error it raised."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"


def shortened(text: str, width: int = WIDEST) -> str:
    """Return a text on one line of at most `width` characters."""
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 3]}..."
