"""Every optax optimizer as a stateful module.

The names of optax's optimizers and transformations are those of the installed optax: `opax.adam` is
`optax.adam` with the same arguments, and makes an optimizer when it is called with parameters.
"""

from __future__ import annotations

import optax
from optax import skip_large_updates, skip_not_finite

from opax import _flattened, _params_ema, contrib, schedule
from opax._check import check
from opax._clip import clip_by_global_norm
from opax._functions import apply_gradients, transform_gradients
from opax._generate import counterpart, counterparts
from opax._optimizer import Optimizer
from opax._recipe import IMPLEMENTATIONS
from opax._transformation import Transformation, from_optax
from opax._updates import apply_updates

IMPLEMENTATIONS[optax.clip_by_global_norm] = clip_by_global_norm
_generated = counterparts(optax)
globals().update(_generated)
flattened = counterpart("flattened", _flattened.flattened)
params_ema = counterpart("params_ema", _params_ema.params_ema)

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "Optimizer",
    "Transformation",
    "apply_gradients",
    "apply_updates",
    "check",
    "contrib",
    "flattened",
    "from_optax",
    "params_ema",
    "schedule",
    "skip_large_updates",
    "skip_not_finite",
    "transform_gradients",
    *_generated,
]
