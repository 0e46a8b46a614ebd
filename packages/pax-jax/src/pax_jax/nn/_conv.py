"""Convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from .._module import Module
from .._trees import parameters_method
from ._initialize import Initializer, weight_and_bias

__all__ = ["Conv2D"]

Padding = str | int | Sequence[int | tuple[int, int]]


def _per_axis(what: str, value: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    sizes = (value,) * ndim if isinstance(value, int) else tuple(value)
    if len(sizes) != ndim or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"{what} is a positive int or {ndim} of them, got {value!r}.")
    return sizes


def _pads(padding: Padding, ndim: int) -> str | tuple[tuple[int, int], ...]:
    """Return "SAME", "VALID", or the amounts below and above for every spatial axis."""
    if isinstance(padding, str):
        if padding.upper() not in ("SAME", "VALID"):
            raise ValueError(f'padding is "SAME", "VALID" or amounts, got {padding!r}.')
        return padding.upper()
    amounts: Any = [padding] * ndim if isinstance(padding, int) else list(padding)
    if len(amounts) != ndim:
        raise ValueError(f"padding has an amount for each of {ndim} axes, got {padding!r}.")
    return tuple((a, a) if isinstance(a, int) else (int(a[0]), int(a[1])) for a in amounts)


class _ConvND(Module):
    """A convolution over `_ndim` spatial axes."""

    parameters = parameters_method("weight", "bias")
    _shown = ("in_features", "out_features", "kernel_shape", "stride", "padding", "with_bias")
    _ndim: ClassVar[int]
    _formats: ClassVar[tuple[str, str]]  # channels last, channels first

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
        data_format: str = "",
        feature_group_count: int = 1,
        *,
        name: str | None = None,
        rng_key: jax.Array | None = None,
    ) -> None:
        super().__init__(name=name)
        self.in_features = in_features
        self.out_features = out_features
        self.kernel_shape = _per_axis("kernel_shape", kernel_shape, self._ndim)
        self.stride = _per_axis("stride", stride, self._ndim)
        self.rate = _per_axis("rate", rate, self._ndim)
        self.padding = _pads(padding, self._ndim)
        self.with_bias = with_bias
        self.data_format = data_format
        self.feature_group_count = feature_group_count
        self._check()
        shape = (*self.kernel_shape, in_features // feature_group_count, out_features)
        self.weight, self.bias = weight_and_bias(shape, with_bias, w_init, b_init, rng_key)

    def _check(self) -> None:
        if self.data_format not in self._formats:
            raise ValueError(
                f"data_format is {' or '.join(map(repr, self._formats))}, got {self.data_format!r}."
            )
        groups = self.feature_group_count
        if groups < 1 or self.in_features % groups or self.out_features % groups:
            raise ValueError(
                f"feature_group_count={groups} does not divide in_features={self.in_features} "
                f"and out_features={self.out_features}."
            )

    @property
    def _channel_axis(self) -> int:
        return self.data_format.index("C")

    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolve an input of `data_format`; `ValueError` for another shape."""
        if x.ndim != self._ndim + 2 or x.shape[self._channel_axis] != self.in_features:
            raise ValueError(
                f"{self!r} expects an input {self.data_format} with "
                f"{self.in_features} channels, got {x.shape}."
            )
        y = jax.lax.conv_general_dilated(
            x,
            self.weight,
            window_strides=self.stride,
            padding=self.padding,
            rhs_dilation=self.rate,
            dimension_numbers=(self.data_format, self._kernel_format, self.data_format),
            feature_group_count=self.feature_group_count,
        )
        if self.bias is None:
            return y
        shape = [1] * y.ndim
        shape[self._channel_axis] = self.out_features
        return y + jnp.reshape(self.bias, shape)

    @property
    def _kernel_format(self) -> str:
        return self._formats[0][1:-1] + "IO"


class Conv2D(_ConvND):
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
            name=name,
            rng_key=rng_key,
        )
