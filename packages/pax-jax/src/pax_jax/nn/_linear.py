"""The linear layer."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from pax_jax._module.module import Module
from pax_jax._module.trees import parameters_method
from pax_jax._show.titles import title
from pax_jax.nn._explicit import gathered, product
from pax_jax.nn._initialize import Initializer, weight_and_bias


class Linear(Module):
    """The map `x @ weight + bias` over the last axis.

    Args:
        in_dim: size of the last axis of the input.
        out_dim: size of the last axis of the output.
        with_bias: whether to add a bias.
        w_init: makes the weight `(in_dim, out_dim)` from a key, a shape and a dtype; LeCun normal
            by default, as in `jax.nn.initializers`.
        b_init: makes the bias `(out_dim,)` in the same way; zeros by default.
        rng_key: key of the initializers; `next_rng_key()` by default.
        name: shown when the module is printed.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> layer = pax.Linear(2, 3)
        >>> layer
        Linear(in_dim=2, out_dim=3, with_bias=True, weight=float32[2,3] rms ..., bias=float32[3] rms 0)
        >>> layer(jnp.ones((5, 2))).shape
        (5, 3)
    """

    parameters = parameters_method("weight", "bias")
    _shown = ("in_dim", "out_dim", "with_bias")

    weight: jax.Array
    bias: jax.Array | None

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        *,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.in_dim = in_dim
        self.out_dim = out_dim
        self.with_bias = with_bias
        shape = (in_dim, out_dim)
        self.weight, self.bias = weight_and_bias(shape, with_bias, w_init, b_init, rng_key)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map an input `(..., in_dim)` to `(..., out_dim)`; `ValueError` for another shape."""
        self._check(x)
        return self._add_bias(product(x, self.weight))

    def _add_bias(self, y: jax.Array) -> jax.Array:
        return y if self.bias is None else y + jnp.broadcast_to(gathered(self.bias, y), y.shape)

    def _check(self, x: jax.Array) -> None:
        if not isinstance(x, jax.Array | np.ndarray) and not hasattr(x, "__jax_array__"):
            raise TypeError(
                f"{title(self)} expects an array of JAX or NumPy, got a {type(x).__name__}; convert it by "
                "jnp.asarray."
            )
        if x.ndim == 0 or x.shape[-1] != self.in_dim:
            raise ValueError(f"{title(self)} expects an input (..., {self.in_dim}), got {x.shape}.")
