"""The transformations of `optax.contrib`, each made stateful as in `opax`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import optax.contrib

from ._generate import counterparts

_generated = counterparts(optax.contrib)
globals().update(_generated)

__all__ = [*_generated]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from ._transformation import Transformation

    def __getattr__(name: str) -> Callable[..., Transformation]: ...
