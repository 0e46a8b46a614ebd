"""What the user says about a wrapped function, beside the function itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VMAP_METHODS = (
    *(None, "sequential", "sequential_unrolled", "expand_dims", "broadcast_all"),
    "legacy_vectorized",
)
RANDOMNESS = ("error", "different", "same")
DEBUG_VARIABLE = "TORCH2JAX_BRIDGE_DEBUG"


@dataclass(frozen=True)
class Options:
    """The options of `torch2jax`; see there.

    Attributes:
        keyed: whether the function seeds PyTorch's generator from its first array argument,
            so that it draws the same numbers whenever it runs again.
    """

    out: bool = False
    aliases: tuple[tuple[int, int], ...] = ()
    vmap_method: str | None = None
    randomness: str = "error"
    command_buffer: bool = False
    debug: bool = False
    keyed: bool = False


def make_options(
    *,
    out: bool,
    input_output_aliases: Mapping[int, int] | None,
    vmap_method: str | None,
    randomness: str,
    command_buffer: bool,
    debug: bool | None,
) -> Options:
    """Check the options that a user gave.

    Raises:
        ValueError: an option has a value that it cannot have, or two do not go together.
    """
    _check_choice("vmap_method", vmap_method, VMAP_METHODS)
    _check_choice("randomness", randomness, RANDOMNESS)
    aliases = tuple(sorted((input_output_aliases or {}).items()))
    if aliases and out:
        raise ValueError("out=True and input_output_aliases were both given; give one of them")
    if len({result for _, result in aliases}) < len(aliases):
        raise ValueError(f"input_output_aliases {dict(aliases)} gives one result two arguments")
    if debug is None:
        debug = os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0")
    return Options(out, aliases, vmap_method, randomness, command_buffer, debug)


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")
