"""Private names of other libraries, which may be gone in the version that is installed."""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any

_NO_FALLBACK: Any = object()

# Names that a look-up takes for gone: tests add to it.
hidden: set[str] = set()


def foreign(name: str, feature: str, fallback: Any = _NO_FALLBACK) -> Any:
    """Return what a library keeps under a private name.

    Args:
        name: the full name, such as `"torch._C._functorch._add_batch_dim"`. What stands before the
            last dot is imported as far as it is a module.
        feature: what needs it, for the error: `"pax_torch.vmap"`.
        fallback: what to return if there is no such object.

    Returns:
        The object, or the fallback, or a `Missing` that raises an error once it is used.

    Example:
        >>> foreign("math.sqrt", "the example")(4.0)
        2.0
        >>> bool(foreign("math._root", "the example"))
        False
    """
    try:
        return _find(name)
    except Exception:  # whatever a library raises while it is imported, the name cannot be had
        return Missing(name, feature) if fallback is _NO_FALLBACK else fallback


def _find(name: str) -> Any:
    if name in hidden:
        raise LookupError(name)
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
            for part in parts[count:]:
                found = getattr(found, part)
        except (ImportError, AttributeError):
            continue
        return found
    return importlib.import_module(name)


class _MissingBase:
    """The base class of a class whose own base class is missing: it makes no objects."""

    missing: tuple[str, str]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        raise _error(*cls.missing)


class Missing:
    """What `foreign` returns in place of an object that is gone: false, and an error once used.

    A class may be derived from it, and it may be asked for instances or subclasses, of which it has
    none. Everything else raises a RuntimeError, so that no call is passed over in silence.
    """

    __slots__ = ("_feature", "_name")

    def __init__(self, name: str, feature: str) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_feature", feature)

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"Missing({self._name!r}, {self._feature!r})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise _error(self._name, self._feature)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python, `copy` or `inspect` asks what this can do
            raise AttributeError(name)
        raise _error(self._name, self._feature)

    def __setattr__(self, name: str, value: Any) -> None:
        raise _error(self._name, self._feature)

    def __enter__(self) -> Any:
        raise _error(self._name, self._feature)

    def __exit__(self, *error: object) -> None:
        raise _error(self._name, self._feature)

    def __instancecheck__(self, instance: object) -> bool:
        return False

    def __subclasscheck__(self, cls: type) -> bool:
        return False

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type]:
        return (type("MissingBase", (_MissingBase,), {"missing": (self._name, self._feature)}),)

    def __reduce__(self) -> Any:
        return Missing, (self._name, self._feature)


def _error(name: str, feature: str) -> RuntimeError:
    library = name.partition(".")[0]
    try:
        version = getattr(importlib.import_module(library), "__version__", "")
    except ImportError:
        return RuntimeError(f"{feature} needs {name}, but {library} is not installed.")
    return RuntimeError(
        f"{feature} needs {name}, which the installed {library} {version} does not have; "
        "install a version that has it."
    )
