"""Every optax optimizer as a stateful module.

The names of optax's optimizers and transformations are those of the installed optax: `opax.adam` is
`optax.adam` with the same arguments, and makes an optimizer when it is called with parameters.
"""

import optax as _optax
from optax import skip_large_updates, skip_not_finite

from opax import _transforms, contrib, schedule
from opax._check import check
from opax._masks import optional
from opax._optimizer import Optimizer, apply_gradients, transform_gradients
from opax._params import apply_updates
from opax._range_test import learning_rate_range_test
from opax._read import has_updated
from opax._sharded import shard_state
from opax._transformation import Transformation, from_optax
from opax._wrap import counterparts as _counterparts
from opax._wrap import transformation_maker as _transformation_maker

__version__ = "1.0.0.dev0"

_generated = _counterparts(_optax)
globals().update(_generated)
flattened = _transformation_maker("flattened", _transforms.flattened)
monitor_norms = _transformation_maker("monitor_norms", _transforms.monitor_norms)
params_ema = _transformation_maker("params_ema", _transforms.params_ema)


def __getattr__(name: str) -> object:
    """Say what takes the place of names of the older `opax`, in whose chains updates are subtracted."""
    if name in {"GradientTransformation", "transform"}:
        raise AttributeError(
            f"opax has no {name!r}: a transformation is an `optax.GradientTransformation`, which "
            "`opax.from_optax` takes, and `opax.Transformation` the class of those made here. In code for "
            "the opax of NTT123 updates are subtracted; here, as in optax, they are added: chains end in "
            "`opax.scale(-learning_rate)`."
        )
    raise AttributeError(f"module 'opax' has no attribute {name!r}")


__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "Optimizer",
    "Transformation",
    "apply_gradients",
    "apply_updates",
    "check",
    "contrib",
    "flattened",
    "from_optax",
    "has_updated",
    "learning_rate_range_test",
    "monitor_norms",
    "optional",
    "params_ema",
    "schedule",
    "shard_state",
    "skip_large_updates",
    "skip_not_finite",
    "transform_gradients",
    *_generated,
]
