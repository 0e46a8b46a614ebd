"""Convolutions and transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp

from pax_jax._module.module import Module
from pax_jax._module.trees import parameters_method
from pax_jax._show.titles import title
from pax_jax.nn._initialize import Initializer, weight_and_bias
from pax_jax.nn._window import Padding, checked_format, pads_of, per_axis


class ConvND(Module):
    """A convolution over `_ndim` spatial axes."""

    parameters = parameters_method("weight", "bias")
    _shown = ("in_features", "out_features", "kernel_shape", "stride", "padding", "with_bias")
    _ndim: ClassVar[int]
    _kernel: ClassVar[str] = "IO"  # the channels of the weight, its last two axes: input and output
    _formats: ClassVar[tuple[str, str]]  # channels last, which is the default, and channels first

    weight: jax.Array
    bias: jax.Array | None

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
        data_format: str | None = None,
        feature_group_count: int = 1,
        *,
        name: str | None = None,
        rng_key: jax.Array | None = None,
    ) -> None:
        super().__init__(name=name)
        self.in_features = in_features
        self.out_features = out_features
        self.kernel_shape = per_axis("kernel_shape", kernel_shape, self._ndim)
        self.stride = per_axis("stride", stride, self._ndim)
        self.rate = per_axis("rate", rate, self._ndim)
        self.padding = pads_of(padding, self._ndim)
        self.with_bias = with_bias
        self.data_format = checked_format(data_format, self._formats)
        self.feature_group_count = feature_group_count
        self._check()
        channels = {"I": in_features // feature_group_count, "O": out_features}
        shape = (*self.kernel_shape, *(channels[axis] for axis in self._kernel))
        init = w_init or jax.nn.initializers.lecun_normal(
            self._kernel.index("I") - 2, self._kernel.index("O") - 2
        )
        made = weight_and_bias(shape, with_bias, init, b_init, rng_key, bias_size=out_features)
        self.weight, self.bias = made

    def _check(self) -> None:
        for what, size in [("in_features", self.in_features), ("out_features", self.out_features)]:
            if size < 1:
                raise ValueError(f"{what} is a positive int, got {size}.")
        groups = self.feature_group_count
        if groups < 1 or self.in_features % groups or self.out_features % groups:
            raise ValueError(
                f"feature_group_count={groups} does not divide in_features={self.in_features} "
                f"and out_features={self.out_features}."
            )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolve an input of `data_format`; `ValueError` for another shape."""
        axis = self.data_format.index("C")
        if x.ndim != self._ndim + 2 or x.shape[axis] != self.in_features:
            raise ValueError(
                f"{title(self)} expects an input {self.data_format} with "
                f"{self.in_features} channels, got {x.shape}."
            )
        dtype = jnp.result_type(x, self.weight)
        y = self._convolve(x.astype(dtype), self.weight.astype(dtype))
        if self.bias is None:
            return y
        shape = [1] * y.ndim
        shape[axis] = self.out_features
        return y + jnp.reshape(self.bias, shape)

    def _convolve(self, x: jax.Array, weight: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x,
            weight,
            window_strides=self.stride,
            padding=self.padding,
            rhs_dilation=self.rate,
            dimension_numbers=self._dimensions(),
            feature_group_count=self.feature_group_count,
        )

    def _dimensions(self) -> tuple[str, str, str]:
        return self.data_format, self._formats[0][1:-1] + self._kernel, self.data_format


class ConvNDTranspose(ConvND):
    """A transposed convolution over `_ndim` spatial axes, with the weight `(..., out, in)`."""

    _kernel = "OI"

    def _convolve(self, x: jax.Array, weight: jax.Array) -> jax.Array:
        padding = self.padding
        if isinstance(padding, str):
            sizes = zip(self.kernel_shape, self.stride, self.rate, strict=True)
            padding = tuple(_spread(padding, (k - 1) * r + 1, s) for k, s, r in sizes)
        return jax.lax.conv_general_dilated(
            x,
            weight,
            window_strides=(1,) * self._ndim,
            padding=padding,
            lhs_dilation=self.stride,
            rhs_dilation=self.rate,
            dimension_numbers=self._dimensions(),
            feature_group_count=self.feature_group_count,
        )


def _spread(padding: str, kernel: int, stride: int) -> tuple[int, int]:
    """Return what the spread input is padded with, so that a convolution would give its size.

    The output is `stride` times as large as the input with "SAME", and with "VALID" as large as the
    smallest input whose convolution without padding has the size of this input.
    """
    if padding == "VALID":
        return kernel - 1, max(kernel, stride) - 1
    total = kernel + stride - 2
    before = kernel - 1 if stride > kernel - 1 else -(-total // 2)
    return before, total - before


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
        data_format: "NHWC", the default, or "NCHW", of input and output.
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


class Conv2DTranspose(ConvNDTranspose):
    """A transposed convolution over two spatial axes, as `haiku.Conv2DTranspose`.

    The input is spread by `stride`, padded, and convolved with the window, as by
    `jax.lax.conv_transpose`.

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_shape: size of the window, one int or two.
        stride: how far apart the elements of the input are spread.
        rate: distance between the elements of the window (dilation).
        padding: "SAME" for an output `stride` times as large as the input, "VALID", or amounts that
            the spread input is padded with.
        with_bias: whether to add a bias.
        w_init: makes the weight `(height, width, out_features, in_features // feature_group_count)`
            from a key, a shape and a dtype; LeCun normal by default.
        b_init: makes the bias `(out_features,)` in the same way; zeros by default.
        data_format: "NHWC", the default, or "NCHW", of input and output.
        feature_group_count: number of groups of channels that are convolved apart.
        name: shown when the module is printed.
        rng_key: key of the initializers; `next_rng_key()` by default.

    Raises:
        ValueError: an argument is not one of these.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.Conv2DTranspose(3, 8, 3, stride=2)(jnp.ones((1, 16, 16, 3))).shape
        (1, 32, 32, 8)
    """

    _ndim = 2
    _formats = ("NHWC", "NCHW")


class Conv1DTranspose(ConvNDTranspose):
    """A transposed convolution over one spatial axis; as `Conv2DTranspose`, with "NWC" or "NCW".

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.Conv1DTranspose(3, 8, 3, stride=2)(jnp.ones((1, 16, 3))).shape
        (1, 32, 8)
    """

    _ndim = 1
    _formats = ("NWC", "NCW")


class Conv3DTranspose(ConvNDTranspose):
    """A transposed convolution over three spatial axes; as `Conv2DTranspose`, with "NDHWC" or "NCDHW".

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.Conv3DTranspose(3, 8, 3, stride=2)(jnp.ones((1, 4, 4, 4, 3))).shape
        (1, 8, 8, 8, 8)
    """

    _ndim = 3
    _formats = ("NDHWC", "NCDHW")
