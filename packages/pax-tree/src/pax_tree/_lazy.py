"""Names of a package whose modules are imported when they are first read."""

from __future__ import annotations

import importlib
import sys

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def lazy(
    package: str,
    rooms: Mapping[str, str],
    missing: Callable[[str], AttributeError] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return what a package takes as its `__getattr__` and `__dir__`.

    Args:
        package: its name.
        rooms: for each lazy name the module that it is imported from, within the package. A submodule
            has its own name for it.
        missing: returns the error for any other name.

    Example:
        >>> read, names = lazy("json", {"JSONDecoder": "decoder"})
        >>> read("JSONDecoder").__module__
        'json.decoder'
    """

    def read(name: str) -> Any:
        room = rooms.get(name)
        if room is None:
            if missing is not None:
                raise missing(name)
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = importlib.import_module(f"{package}.{room}")
        if room != name:
            value = getattr(value, name)
        vars(sys.modules[package])[name] = value
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *rooms})

    return read, names
