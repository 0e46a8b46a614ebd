"""The transformations of `optax.contrib`, each made stateful as in `opax`."""

from __future__ import annotations

import optax.contrib

from opax._generate import counterparts

_generated = counterparts(optax.contrib)
globals().update(_generated)

__all__ = [*_generated]  # pyright: ignore[reportUnsupportedDunderAll]
