"""What may still change: flat modules, graphs of modules, mixed precision, weights as dicts."""

from __future__ import annotations

from pax_jax._lazy import LazyModule
from pax_jax._mutable import mutable
from pax_jax.experimental import graph
from pax_jax.experimental._flattener import Flattener
from pax_jax.experimental._precision import apply_scaled_gradients, default_mp_policy
from pax_jax.experimental._weights import load_weights_from_dict, save_weights_to_dict

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
