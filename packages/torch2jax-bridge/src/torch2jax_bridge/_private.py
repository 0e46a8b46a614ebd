"""What is taken from JAX's private modules; without it everything works, at a cost said here."""

from collections.abc import Callable
from typing import Any

from jax._src import util
from jax._src.interpreters import ad


def set_linearize_rule(primitive: Any, rule: Callable[..., Any]) -> None:
    """Set how `jax.grad` linearizes; else it goes by the jvp rule, and a training step calls the
    function twice.
    """
    getattr(ad, "primitive_linearizations", {})[primitive] = rule


def hold_weakly(*types: type) -> None:
    """Let JAX's cache of abstract evaluations hold parameters of these types weakly; else it keeps
    the last 2048 of them, with all that they refer to.
    """
    getattr(util, "weakref_cache_key_types", set()).update(types)
