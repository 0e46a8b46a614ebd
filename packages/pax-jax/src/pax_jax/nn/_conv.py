"""Convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from pax_jax.nn._conv_base import ConvND
from pax_jax.nn._initialize import Initializer
from pax_jax.nn._window import Padding


class Conv2D(ConvND):
    """A convolution over two spatial axes, as `haiku.Conv2D`.

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_shape: size of the window, one int or two.
        stride: steps of the window.
        rate: distance between the elements of the window (dilation).
        padding: "SAME", "VALID", an amount for both sides of every axis, or an amount or a pair of
            amounts for each axis.
        with_bias: whether to add a bias.
        w_init: makes the weight `(height, width, in_features // feature_group_count, out_features)`
            from a key, a shape and a dtype; LeCun normal by default, as in `jax.nn.initializers`.
        b_init: makes the bias `(out_features,)` in the same way; zeros by default.
        data_format: "NHWC" or "NCHW", of input and output.
        feature_group_count: number of groups of channels that are convolved apart.
        name: shown when the module is printed.
        rng_key: key of the initializers; `next_rng_key()` by default.

    Raises:
        ValueError: an argument is not one of these.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.Conv2D(3, 8, 3, stride=2)(jnp.ones((1, 16, 16, 3))).shape
        (1, 8, 8, 8)
    """

    _ndim = 2
    _formats = ("NHWC", "NCHW")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_shape: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        rate: int | Sequence[int] = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NHWC",
        feature_group_count: int = 1,
        *,
        name: str | None = None,
        rng_key: jax.Array | None = None,
    ) -> None:
        super().__init__(
            in_features,
            out_features,
            kernel_shape,
            stride,
            rate,
            padding,
            with_bias,
            w_init,
            b_init,
            data_format,
            feature_group_count,
            name,
            rng_key,
        )


class Conv1D(ConvND):
    """A convolution over one spatial axis; as `Conv2D`, with "NWC" or "NCW".

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.Conv1D(3, 8, 3, stride=2)(jnp.ones((1, 16, 3))).shape
        (1, 8, 8)
    """

    _ndim = 1
    _formats = ("NWC", "NCW")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_shape: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        rate: int | Sequence[int] = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NWC",
        feature_group_count: int = 1,
        *,
        name: str | None = None,
        rng_key: jax.Array | None = None,
    ) -> None:
        super().__init__(
            in_features,
            out_features,
            kernel_shape,
            stride,
            rate,
            padding,
            with_bias,
            w_init,
            b_init,
            data_format,
            feature_group_count,
            name,
            rng_key,
        )


class Conv3D(ConvND):
    """A convolution over three spatial axes; as `Conv2D`, with "NDHWC" or "NCDHW".

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.Conv3D(3, 8, 3, stride=2)(jnp.ones((1, 4, 4, 4, 3))).shape
        (1, 2, 2, 2, 8)
    """

    _ndim = 3
    _formats = ("NDHWC", "NCDHW")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_shape: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        rate: int | Sequence[int] = 1,
        padding: Padding = "SAME",
        with_bias: bool = True,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NDHWC",
        feature_group_count: int = 1,
        *,
        name: str | None = None,
        rng_key: jax.Array | None = None,
    ) -> None:
        super().__init__(
            in_features,
            out_features,
            kernel_shape,
            stride,
            rate,
            padding,
            with_bias,
            w_init,
            b_init,
            data_format,
            feature_group_count,
            name,
            rng_key,
        )
