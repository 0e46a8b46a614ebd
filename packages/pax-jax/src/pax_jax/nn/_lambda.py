"""A function as a module."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any

from pax_jax._module.module import Module


class NamedFunction:
    """A function that compares by identity and is pickled by name where it has one.

    `jax.nn.relu` and other wrapped functions know their name but are not functions to `pickle`.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        if not callable(call):
            raise TypeError(f"Expected a function, got {call!r} of type {type(call).__name__}.")
        self.call = call

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedFunction) and self.call is other.call

    def __hash__(self) -> int:
        return hash((NamedFunction, id(self.call)))

    def __deepcopy__(self, memo: Any) -> NamedFunction:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        module, name = (getattr(self.call, at, "") for at in ("__module__", "__qualname__"))
        try:
            by_name = resolve_name(f"{module}:{name}") is self.call
        except (AttributeError, ImportError, ValueError):
            by_name = False
        return (_from_name, (module, name)) if by_name else (NamedFunction, (self.call,))


def _from_name(module: str, name: str) -> NamedFunction:
    return NamedFunction(resolve_name(f"{module}:{name}"))


class Lambda(Module):
    """A function as a module, static: it has no parameters and no state.

    Args:
        func: a function; `jax.nn.relu`, say.
        name: shown when the module is printed.

    Raises:
        TypeError: `func` cannot be called, or holds arrays.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.Lambda(jax.nn.relu), pax.Lambda(jnp.abs)(jnp.array(-1.0))
        (Lambda(relu), Array(1., dtype=float32, weak_type=True))
    """

    def __init__(self, func: Callable[..., Any], *, name: str | None = None) -> None:
        super().__init__(name=name)
        if not callable(func) or self._classify("func", func) is not None:
            raise TypeError(
                f"Lambda expects a function that holds no arrays, "
                f"got {func!r} of type {type(func).__name__}."
            )
        self._function = NamedFunction(func)

    @property
    def func(self) -> Callable[..., Any]:
        """The function."""
        return self._function.call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.func(*args, **kwargs)

    @property
    def _summary_line(self) -> str:
        return f"x => {self._label}(x)"

    @property
    def _label(self) -> str:
        return self.name or getattr(self.func, "__name__", type(self.func).__name__)

    @property
    def _title(self) -> str:
        return f"Lambda({self._label})"


class Identity(Module):
    """A module that returns its input.

    Args:
        name: shown when the module is printed.

    Example:
        >>> import pax_jax as pax
        >>> pax.Identity()(3)
        3
    """

    def __call__(self, x: Any) -> Any:
        """Return `x`."""
        return x
