"""Looking into functions that are transformed or compiled, as `jax.debug`."""

from pax_torch._callbacks.printing import print

__all__ = ["print"]
