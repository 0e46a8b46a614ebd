"""The transformations of `optax.contrib`, each made stateful as in `opax`."""

import optax.contrib as _optax

from opax._read import schedule_free_eval_params
from opax._wrap import counterparts as _counterparts

_generated = _counterparts(_optax)
globals().update(_generated)

__all__ = ["schedule_free_eval_params", *_generated]  # pyright: ignore[reportUnsupportedDunderAll]
