"""What may still change: flat modules, graphs of modules, mixed precision, weights as dicts."""

from .._lazy import LazyModule
from .._mutable import mutable
from . import graph
from ._flattener import Flattener
from ._precision import apply_scaled_gradients, default_mp_policy
from ._weights import load_weights_from_dict, save_weights_to_dict

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
