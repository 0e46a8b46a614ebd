"""Random numbers as pure functions of a key: those of `jax.random`, in PyTorch.

A key is a tensor of two 32-bit words. The same key gives the same numbers as in JAX with its default
generator, threefry, on every device, inside `vmap` and `jit`, and whatever else was drawn before.
"""

from pax_torch.random._choices import categorical, permutation
from pax_torch.random._floats import bernoulli, normal, truncated_normal, uniform
from pax_torch.random._integers import randint
from pax_torch.random._keys import fold_in, key, split

__all__ = [
    "bernoulli",
    "categorical",
    "fold_in",
    "key",
    "normal",
    "permutation",
    "randint",
    "split",
    "truncated_normal",
    "uniform",
]
