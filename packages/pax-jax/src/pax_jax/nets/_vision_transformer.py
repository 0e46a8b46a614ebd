"""The vision transformer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pax_jax._module.module import Module
from pax_jax._module.trees import parameters_method
from pax_jax._rng import split_key
from pax_jax._show.titles import title
from pax_jax.nets._transformer import Transformer
from pax_jax.nn import Conv2D, Dropout, Linear


class VisionTransformer(Module):
    """A `Transformer` over patches of an image (https://arxiv.org/abs/2010.11929).

    Each patch is mapped to a vector, a learned vector for its place is added, and the logits are a
    linear map of what the transformer makes of one more vector, `class_token`.

    Args:
        image_size: height and width of the images.
        patch_size: height and width of a patch; it divides `image_size`.
        num_classes: size of the output.
        dim: size of the vectors.
        num_heads: number of heads of each layer; it divides `dim`.
        num_layers: number of layers.
        dropout_rate: as in `Transformer`, and of the vectors before the first layer.
        widening_factor: as in `Transformer`.
        activation: as in `TransformerBlock`.
        norm_eps: as in `Transformer`.
        scan: as in `Transformer`.
        remat: as in `Transformer`.
        input_channels: channels of the images.
        data_format: "NHWC" or "NCHW", of the images.
        rng_key: key of weights and dropout; `next_rng_key()` by default.
        name: shown when the module is printed.

    Raises:
        ValueError: `patch_size` does not divide `image_size`, or `num_heads` not `dim`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> def logits(key):
        ...     sizes = {"dim": 8, "num_heads": 2, "num_layers": 1, "num_classes": 10}
        ...     net = pax.nets.VisionTransformer(8, 4, **sizes, rng_key=key)
        ...     return net(jnp.ones((2, 8, 8, 3)))
        >>> jax.eval_shape(logits, jax.random.key(0)).shape
        (2, 10)
    """

    parameters = parameters_method("class_token", "positions")
    _shown = ("image_size", "patch_size", "num_classes")

    class_token: jax.Array
    positions: jax.Array

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        num_classes: int,
        dim: int,
        num_heads: int,
        num_layers: int,
        dropout_rate: float = 0.0,
        *,
        widening_factor: int = 4,
        activation: Callable[[jax.Array], jax.Array] = jax.nn.gelu,
        norm_eps: float = 1e-5,
        scan: bool = False,
        remat: bool | Callable[..., bool] = False,
        input_channels: int = 3,
        data_format: str = "NHWC",
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if patch_size < 1 or image_size % patch_size:
            raise ValueError(f"patch_size={patch_size} does not divide image_size={image_size}.")
        self.image_size = image_size
        self.patch_size = patch_size
        self.num_classes = num_classes
        self.data_format = data_format
        keys = split_key(rng_key, 5)
        window: Any = {"kernel_shape": patch_size, "stride": patch_size, "padding": "VALID"}
        self.patches = Conv2D(
            input_channels, dim, **window, data_format=data_format, rng_key=keys[0]
        )
        length = (image_size // patch_size) ** 2 + 1
        self.class_token = jnp.zeros((dim,), jnp.float32)
        self.positions = 0.02 * jax.random.normal(keys[1], (length, dim), jnp.float32)
        self.dropout = Dropout(dropout_rate, rng_key=keys[2])
        self.transformer = Transformer(
            dim,
            num_heads,
            num_layers,
            dropout_rate,
            is_causal=False,
            widening_factor=widening_factor,
            activation=activation,
            norm_eps=norm_eps,
            scan=scan,
            remat=remat,
            rng_key=keys[3],
        )
        self.logits = Linear(dim, num_classes, rng_key=keys[4])

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images `(n, ...)` of `data_format` to logits `(n, num_classes)`."""
        return self.logits(self.features(x)[:, 0])

    def features(self, x: jax.Array) -> jax.Array:
        """Map images to vectors `(n, 1 + number of patches, dim)`, that of the class first."""
        sizes = (x.ndim, *(x.shape[self.data_format.index(axis)] for axis in "HW" if x.ndim == 4))
        if sizes != (4, self.image_size, self.image_size):
            raise ValueError(
                f"{title(self)} expects images {self.data_format} of {self.image_size} by "
                f"{self.image_size}, got {x.shape}."
            )
        y = self.patches(x)
        y = y if self.data_format == "NHWC" else jnp.moveaxis(y, 1, -1)
        n, dim = y.shape[0], y.shape[-1]
        token = jnp.broadcast_to(self.class_token, (n, 1, dim))
        y = jnp.concatenate([token, y.reshape(n, -1, dim)], axis=1)
        y = y + jnp.broadcast_to(self.positions, y.shape)
        return self.transformer(self.dropout(y))
