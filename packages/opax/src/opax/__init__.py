"""Every optax optimizer as a stateful module.

The names of optax's optimizers and transformations are those of the installed optax: `opax.adam` is
`optax.adam` with the same arguments, and makes an optimizer when it is called with parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import optax

from . import contrib, schedule
from ._clip import clip_by_global_norm
from ._functions import apply_gradients, transform_gradients
from ._generate import counterparts
from ._optimizer import Optimizer
from ._recipe import IMPLEMENTATIONS
from ._transformation import Transformation, from_optax
from ._updates import apply_updates

IMPLEMENTATIONS[optax.clip_by_global_norm] = clip_by_global_norm
_generated = counterparts(optax)
globals().update(_generated)

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "Optimizer",
    "Transformation",
    "apply_gradients",
    "apply_updates",
    "contrib",
    "from_optax",
    "schedule",
    "transform_gradients",
    *_generated,
]

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Transformation]: ...
