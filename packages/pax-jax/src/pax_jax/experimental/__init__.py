"""What may still change: flat modules, graphs of modules, mixed precision, weights as dicts."""

from pax_jax._module.calls import mutable
from pax_jax._module.module import LazyModule
from pax_jax._module.state_dict import load_weights_from_dict, save_weights_to_dict
from pax_jax._precision import apply_scaled_gradients, default_mp_policy
from pax_jax.experimental import graph
from pax_jax.experimental._flattener import Flattener

__all__ = [
    "Flattener",
    "LazyModule",
    "apply_scaled_gradients",
    "default_mp_policy",
    "graph",
    "load_weights_from_dict",
    "mutable",
    "save_weights_to_dict",
]
