"""Every optax optimizer as a stateful module.

The names of optax's optimizers and transformations are those of the installed optax: `opax.adam` is
`optax.adam` with the same arguments, and makes an optimizer when it is called with parameters.
"""

import sys as _sys

import optax as _optax
from optax import skip_large_updates, skip_not_finite

from opax import _transforms
from opax._masks import optional
from opax._optimizer import Optimizer, apply_gradients, transform_gradients
from opax._params import apply_updates
from opax._transformation import Transformation, from_optax
from opax._wrap import makers as _makers
from opax._wrap import transformation_maker as _transformation_maker
from pax_tree._lazy import lazy as _lazy

__version__ = "1.0.0.dev0"

flattened = _transformation_maker("flattened", _transforms.flattened)
monitor_norms = _transformation_maker("monitor_norms", _transforms.monitor_norms)
params_ema = _transformation_maker("params_ema", _transforms.params_ema)


_THEIRS = _makers(_optax)
_ROOMS = {
    "check": "_check",
    "contrib": "contrib",
    "has_updated": "_read",
    "learning_rate_range_test": "_range_test",
    "schedule": "schedule",
    "shard_state": "_sharded",
}


def _missing(name: str) -> AttributeError:
    """Say what takes the place of names of the older `opax`, in whose chains updates are subtracted."""
    if name in {"GradientTransformation", "transform"}:
        return AttributeError(
            f"opax has no {name!r}: a transformation is an `optax.GradientTransformation`, which "
            "`opax.from_optax` takes, and `opax.Transformation` the class of those made here. In code for "
            "the opax of NTT123 updates are subtracted; here, as in optax, they are added: chains end in "
            "`opax.scale(-learning_rate)`."
        )
    return AttributeError(f"module 'opax' has no attribute {name!r}")


_from_room, _shown = _lazy(__name__, _ROOMS, _missing)


def __getattr__(name: str) -> object:
    """Make the counterpart of a function of optax when it is first read: to make all takes a while."""
    if name in _THEIRS:
        return globals().setdefault(name, _transformation_maker(name, _THEIRS[name]))
    if name == "_generated":
        return {each: getattr(_sys.modules[__name__], each) for each in _THEIRS}
    return _from_room(name)


def __dir__() -> list[str]:
    return sorted({*_shown(), *_THEIRS})


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
    *_THEIRS,
]
