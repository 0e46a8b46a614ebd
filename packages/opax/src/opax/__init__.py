"""Every optax optimizer as a stateful module.

The names of optax's optimizers and transformations are those of the installed optax: `opax.adam` is
`optax.adam` with the same arguments, and makes an optimizer when it is called with parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import optax

from . import contrib
from ._functions import apply_gradients, transform_gradients
from ._generate import counterparts
from ._optimizer import Optimizer, apply_updates
from ._transformation import Transformation, from_optax

_generated = counterparts(optax)
globals().update(_generated)

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "Optimizer",
    "Transformation",
    "apply_gradients",
    "apply_updates",
    "contrib",
    "from_optax",
    "transform_gradients",
    *_generated,
]

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Transformation]: ...
