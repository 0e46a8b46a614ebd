"""The transformations that Pax 0.x also had under this name."""

from pax_jax._transforms.grad import build_update_fn, grad
from pax_jax._transforms.loops import scan

__all__ = ["build_update_fn", "grad", "scan"]
