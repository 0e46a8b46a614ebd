"""Normalization: of batches, layers, groups and instances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from pax_jax._module.module import Module
from pax_jax._module.trees import parameters_method
from pax_jax._rng import split_key
from pax_jax._show.titles import title
from pax_jax.nn._initialize import Initializer
from pax_jax.nn._window import checked_format


class AxisSlice(NamedTuple):
    """A slice of axes; unlike a `slice` it can be hashed on every Python."""

    start: int | None
    stop: int | None
    step: int | None


Axes = tuple[int, ...] | AxisSlice


def checked_axes(axis: int | slice | Sequence[int]) -> Axes:
    """Return `axis` as a static value; `ValueError` if it is not an int, ints or a slice."""
    if isinstance(axis, slice):
        return AxisSlice(axis.start, axis.stop, axis.step)
    axes = (axis,) if isinstance(axis, int) else axis
    if not isinstance(axes, Sequence) or not all(isinstance(a, int) for a in axes):
        raise ValueError(f"axis is an int, a sequence of ints or a slice, got {axis!r}.")
    return tuple(axes)


def axes_of(axis: Axes, ndim: int) -> tuple[int, ...]:
    """Return the axes, not negative, of an array of `ndim` axes."""
    if isinstance(axis, AxisSlice):
        return tuple(range(ndim)[slice(*axis)])
    return tuple(sorted({a % ndim for a in axis}))


def channel_index(data_format: str) -> int:
    """Return the axis of the channels, 1 or -1, of a format written in words or dots."""
    if data_format in ("channels_last", "N...C"):
        return -1
    if data_format in ("channels_first", "NC..."):
        return 1
    raise ValueError(
        "data_format is 'channels_last', 'N...C', 'channels_first' or 'NC...', "
        f"got {data_format!r}."
    )


def scale_and_offset(
    num_channels: int,
    create: tuple[bool, bool],
    inits: tuple[Initializer | None, Initializer | None],
    rng_key: Any,
) -> tuple[jax.Array | None, jax.Array | None]:
    """Make the parameters of a layer: scale, ones unless its initializer says else, and offset."""
    for what, wanted, init in zip(("scale", "offset"), create, inits, strict=True):
        if init is not None and not wanted:
            raise ValueError(f"{what}_init is given with create_{what}=False.")
    scale_init, offset_init = inits
    keys: Any = (None, None)
    if scale_init is not None or offset_init is not None:
        keys = split_key(rng_key)
    shape = (num_channels,)
    scale = (scale_init or jax.nn.initializers.ones)(keys[0], shape, jnp.float32)
    offset = (offset_init or jax.nn.initializers.zeros)(keys[1], shape, jnp.float32)
    return (scale if create[0] else None), (offset if create[1] else None)


def precise(x: jax.Array) -> jax.Array:
    """Return `x` in float32, or in its own dtype where that is larger."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"Normalization expects a floating dtype, got an array of {x.dtype}.")
    return x if jnp.finfo(x.dtype).bits >= 32 else x.astype(jnp.float32)


def moments(x: jax.Array, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Return mean and biased variance of a precise array, with the axes kept.

    The variance is that about a constant, the mean, less the square of the mean's distance to it,
    which is zero. Its derivatives of every order are exact, and since the square comes before the
    mean, XLA computes the gradient at each layer once rather than anew in all layers below.
    """
    center = jnp.mean(jax.lax.stop_gradient(x), axes, keepdims=True)
    square = jnp.square(x - center)
    mean = jnp.mean(x, axes, keepdims=True)
    return mean, jnp.mean(square, axes, keepdims=True) - jnp.square(mean - center)


def scaled(
    x: jax.Array,
    factor: jax.Array | float,
    scale: jax.Array | None,
    offset: jax.Array | None,
    channel_axis: int,
) -> jax.Array:
    """Return `x * factor * scale + offset`; scale and offset lie along `channel_axis`."""
    shape = [1] * x.ndim
    shape[channel_axis] = x.shape[channel_axis]
    if scale is not None:
        factor = factor * scale.astype(x.dtype).reshape(shape)
    y = x * factor
    return y if offset is None else y + offset.astype(x.dtype).reshape(shape)


class Norm(Module):
    """A layer that may have a scale and an offset for each channel."""

    parameters = parameters_method("scale", "offset")

    scale: jax.Array | None
    offset: jax.Array | None


class BatchNorm(Norm):
    """Normalization of every channel over the batch and the other axes."""

    _shown = ("num_channels", "create_scale", "create_offset", "decay_rate", "eps", "data_format")
    _formats: ClassVar[tuple[str, str]]  # channels last, which is the default, and channels first

    ema_mean: jax.Array
    ema_var: jax.Array
    ema_weight: jax.Array

    def __init__(
        self,
        num_channels: int,
        create_scale: bool = True,
        create_offset: bool = True,
        decay_rate: float = 0.9,
        eps: float = 1e-5,
        data_format: str | None = None,
        *,
        cross_replica_axis: str | tuple[str, ...] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.data_format = checked_format(data_format, self._formats)
        if not 0.0 <= decay_rate <= 1.0:
            raise ValueError(f"decay_rate is from 0 to 1, got {decay_rate}.")
        self.num_channels = num_channels
        self.create_scale = create_scale
        self.create_offset = create_offset
        self.decay_rate = decay_rate
        self.eps = eps
        self.cross_replica_axis = cross_replica_axis
        self.scale = jnp.ones(num_channels, jnp.float32) if create_scale else None
        self.offset = jnp.zeros(num_channels, jnp.float32) if create_offset else None
        self.ema_mean = jnp.zeros(num_channels, jnp.float32)
        self.ema_var = jnp.ones(num_channels, jnp.float32)
        self.ema_weight = jnp.zeros((), jnp.float32)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalize an input of `data_format`, and in training mode update the averages."""
        axis = self._channel_axis(x)
        shape = [1] * x.ndim
        shape[axis] = self.num_channels
        wide = precise(x)
        if self.training:
            center = self._batch_center(wide, axis)
            shifted = wide - center.reshape(shape)
            mean, var = self._batch_statistics(shifted, axis)
            self._update(mean + center, var)
            shifted = shifted - mean.reshape(shape)
        else:
            shifted = wide - self.ema_mean.astype(wide.dtype).reshape(shape)
            var = self.ema_var.astype(wide.dtype)
        factor = jax.lax.rsqrt(var + self.eps).reshape(shape)
        return scaled(shifted, factor, self.scale, self.offset, axis).astype(x.dtype)

    def _channel_axis(self, x: jax.Array) -> int:
        channel_last = self.data_format[-1] == "C"
        axis = x.ndim - 1 if channel_last else 1
        if not self._accepts(x) or x.shape[axis] != self.num_channels:
            raise ValueError(
                f"{title(self)} expects an input {self.data_format} with {self.num_channels} "
                f"channels, got {x.shape}."
            )
        return axis

    def _accepts(self, x: jax.Array) -> bool:
        return x.ndim == len(self.data_format)

    def _batch_center(self, x: jax.Array, axis: int) -> jax.Array:
        """Return the mean of the batch over all replicas, a constant in derivatives."""
        x = jax.lax.stop_gradient(x)
        center = jnp.mean(x, tuple(a for a in range(x.ndim) if a != axis))
        if self.cross_replica_axis is not None:
            center = jax.lax.pmean(center, self.cross_replica_axis)
        return center

    def _batch_statistics(self, x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
        """Return mean and variance of the batch, in one pass, over all replicas.

        The difference of two means is exact because the mean of the batch has been taken from `x`:
        the mean that is left is its rounding error, and the way of its derivatives.
        """
        axes = tuple(a for a in range(x.ndim) if a != axis)
        mean, square = jnp.mean(x, axes), jnp.mean(jnp.square(x), axes)
        if self.cross_replica_axis is not None:
            mean, square = jax.lax.pmean((mean, square), self.cross_replica_axis)
        return mean, jnp.maximum(square - jnp.square(mean), 0.0)

    def _update(self, mean: jax.Array, var: jax.Array) -> None:
        """Move the averages towards the statistics of a batch.

        The averages are those of all batches seen, each weighing `decay_rate` of the next one:
        dividing by the sum of the weights makes the first one count in full.
        """
        weight = self.decay_rate * self.ema_weight + (1.0 - self.decay_rate)
        step = jnp.where(weight > 0.0, (1.0 - self.decay_rate) / weight, 0.0)
        self.ema_weight = weight
        self.ema_mean = self.ema_mean + step * (mean.astype(self.ema_mean.dtype) - self.ema_mean)
        self.ema_var = self.ema_var + step * (var.astype(self.ema_var.dtype) - self.ema_var)


class BatchNorm1D(BatchNorm):
    """Batch normalization of inputs `(n, channels)` or `(n, width, channels)`.

    In training mode each channel is normalized with the mean and the biased variance of the batch,
    and their moving averages are updated; in evaluation mode the averages are used. The averages are
    free of the bias towards their first value, as in `haiku.BatchNorm`
    (https://arxiv.org/abs/1502.03167; Kingma and Ba, https://arxiv.org/abs/1412.6980, section 3).

    Args:
        num_channels: number of channels.
        create_scale: whether to multiply by a parameter `scale`.
        create_offset: whether to add a parameter `offset`.
        decay_rate: weight of the past in the moving averages, from 0 to 1.
        eps: added to the variance.
        data_format: "NWC", the default, or "NCW".
        cross_replica_axis: name, or names, of axes of `jax.vmap` or `jax.shard_map` over which the
            batch is spread: its statistics are those of all replicas together.
        name: shown when the module is printed.

    Raises:
        ValueError: an argument is not one of these.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> norm = pax.BatchNorm1D(2)
        >>> norm(jnp.array([[1.0, 10.0], [3.0, 30.0]])).round(2)
        Array([[-1., -1.],
               [ 1.,  1.]], dtype=float32)
        >>> norm.ema_mean
        Array([ 2., 20.], dtype=float32)
    """

    _formats = ("NWC", "NCW")

    def _accepts(self, x: jax.Array) -> bool:
        return x.ndim in (2, 3)


class BatchNorm2D(BatchNorm):
    """Batch normalization of images; as `BatchNorm1D`, with `data_format` "NHWC" or "NCHW".

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.BatchNorm2D(3)(jnp.ones((2, 4, 4, 3))).shape
        (2, 4, 4, 3)
    """

    _formats = ("NHWC", "NCHW")


class BatchNorm3D(BatchNorm):
    """Batch normalization of volumes; as `BatchNorm1D`, with `data_format` "NDHWC" or "NCDHW".

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.BatchNorm3D(3)(jnp.ones((2, 2, 4, 4, 3))).shape
        (2, 2, 4, 4, 3)
    """

    _formats = ("NDHWC", "NCDHW")


class LayerNorm(Norm):
    """Layer normalization, as `haiku.LayerNorm` (https://arxiv.org/abs/1607.06450).

    Args:
        num_channels: size of the last axis.
        axis: over which axes to normalize: an int, ints or a slice.
        create_scale: whether to multiply by a parameter `scale` `(num_channels,)`.
        create_offset: whether to add a parameter `offset` `(num_channels,)`.
        eps: added to the variance.
        scale_init: makes the scale from a key, a shape and a dtype; ones by default.
        offset_init: makes the offset in the same way; zeros by default.
        rng_key: key of the initializers; `next_rng_key()` by default.
        name: shown when the module is printed.

    Raises:
        ValueError: an argument is not one of these.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.LayerNorm(2)(jnp.array([[1.0, 3.0], [10.0, 30.0]])).round(2)
        Array([[-1.,  1.],
               [-1.,  1.]], dtype=float32)
    """

    _shown = ("num_channels", "axis", "create_scale", "create_offset")

    def __init__(
        self,
        num_channels: int,
        axis: int | slice | Sequence[int] = -1,
        create_scale: bool = True,
        create_offset: bool = True,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        *,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.num_channels = num_channels
        self.axis = checked_axes(axis)
        self.create_scale = create_scale
        self.create_offset = create_offset
        self.eps = eps
        create, inits = (create_scale, create_offset), (scale_init, offset_init)
        self.scale, self.offset = scale_and_offset(num_channels, create, inits, rng_key)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalize an input `(..., num_channels)`; the statistics are computed in float32."""
        _check_channels(self, x)
        wide = precise(x)
        mean, var = moments(wide, axes_of(self.axis, x.ndim))
        factor = jax.lax.rsqrt(var + self.eps)
        return scaled(wide - mean, factor, self.scale, self.offset, -1).astype(x.dtype)


class RMSNorm(Module):
    """Normalization by the root of the mean square, as `haiku.RMSNorm`.

    It follows https://arxiv.org/abs/1910.07467. Errors are those of `LayerNorm`.

    Args:
        num_channels: size of the last axis.
        axis: over which axes to normalize: an int, ints or a slice.
        create_scale: whether to multiply by a parameter `scale` `(num_channels,)`.
        eps: added to the mean square.
        scale_init: makes the scale from a key, a shape and a dtype; ones by default.
        rng_key: key of the initializer; `next_rng_key()` by default.
        name: shown when the module is printed.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.RMSNorm(1, eps=0.0)(jnp.array([[3.0], [-4.0]]))
        Array([[ 1.],
               [-1.]], dtype=float32)
    """

    parameters = parameters_method("scale")
    _shown = ("num_channels", "axis", "create_scale")

    scale: jax.Array | None

    def __init__(
        self,
        num_channels: int,
        axis: int | slice | Sequence[int] = -1,
        create_scale: bool = True,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        *,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.num_channels = num_channels
        self.axis = checked_axes(axis)
        self.create_scale = create_scale
        self.eps = eps
        create, inits = (create_scale, False), (scale_init, None)
        self.scale, _ = scale_and_offset(num_channels, create, inits, rng_key)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalize an input `(..., num_channels)`; the mean square is computed in float32."""
        _check_channels(self, x)
        wide = precise(x)
        square = jnp.mean(jnp.square(wide), axes_of(self.axis, x.ndim), keepdims=True)
        return scaled(wide, jax.lax.rsqrt(square + self.eps), self.scale, None, -1).astype(x.dtype)


def _check_channels(layer: LayerNorm | RMSNorm, x: jax.Array) -> None:
    if x.ndim == 0 or x.shape[-1] != layer.num_channels:
        raise ValueError(
            f"{title(layer)} expects an input (..., {layer.num_channels}), got {x.shape}."
        )


class GroupNorm(Norm):
    """Group normalization, as `haiku.GroupNorm` (https://arxiv.org/abs/1803.08494).

    The channels are split into groups, and each group is normalized over its channels and `axis`.

    Args:
        groups: number of groups; it divides the number of channels.
        num_channels: number of channels.
        axis: over which axes to normalize: an int, ints or a slice; all but the first by default.
        create_scale: whether to multiply by a parameter `scale` `(num_channels,)`.
        create_offset: whether to add a parameter `offset` `(num_channels,)`.
        eps: added to the variance.
        scale_init: makes the scale from a key, a shape and a dtype; ones by default.
        offset_init: makes the offset in the same way; zeros by default.
        data_format: "channels_last" or "N...C"; "channels_first" or "NC...".
        rng_key: key of the initializers; `next_rng_key()` by default.
        name: shown when the module is printed.

    Raises:
        ValueError: an argument is not one of these.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.GroupNorm(2, 4)(jnp.array([[1.0, 3.0, 10.0, 30.0]])).round(2)
        Array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    _shown = ("groups", "num_channels", "create_scale", "create_offset", "data_format")

    def __init__(
        self,
        groups: int,
        num_channels: int,
        axis: int | slice | Sequence[int] = slice(1, None),
        create_scale: bool = True,
        create_offset: bool = True,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        data_format: str = "channels_last",
        *,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if groups < 1 or num_channels % groups:
            raise ValueError(f"groups={groups} does not divide num_channels={num_channels}.")
        channel_index(data_format)
        self.groups = groups
        self.num_channels = num_channels
        self.axis = checked_axes(axis)
        self.create_scale = create_scale
        self.create_offset = create_offset
        self.eps = eps
        self.data_format = data_format
        create, inits = (create_scale, create_offset), (scale_init, offset_init)
        self.scale, self.offset = scale_and_offset(num_channels, create, inits, rng_key)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalize an input of `data_format`; the statistics are computed in float32."""
        channel_axis = channel_index(self.data_format) % max(x.ndim, 1)
        if x.ndim < 2 or x.shape[channel_axis] != self.num_channels:
            raise ValueError(
                f"{title(self)} expects an input {self.data_format} with {self.num_channels} "
                f"channels, got {x.shape}."
            )
        split = (self.groups, self.num_channels // self.groups)
        grouped = precise(x).reshape(x.shape[:channel_axis] + split + x.shape[channel_axis + 1 :])
        axes = axes_of(self.axis, x.ndim)
        mean, var = moments(grouped, tuple(a if a < channel_axis else a + 1 for a in axes))
        y = (grouped - mean) * jax.lax.rsqrt(var + self.eps)
        y = y.reshape(x.shape)
        return scaled(y, 1.0, self.scale, self.offset, channel_axis).astype(x.dtype)


class InstanceNorm(GroupNorm):
    """Normalization of each channel of each example, as `haiku.InstanceNorm`.

    It follows https://arxiv.org/abs/1607.08022: a `GroupNorm` with a group for each channel.
    Errors as there.

    Args:
        num_channels: how many channels there are.
        create_scale: whether to multiply by a parameter `scale` `(num_channels,)`.
        create_offset: whether to add a parameter `offset` `(num_channels,)`.
        eps: added to the variance.
        scale_init: makes the scale from a key, a shape and a dtype; ones by default.
        offset_init: makes the offset in the same way; zeros by default.
        data_format: "channels_last" or "channels_first".
        rng_key: key of the initializers; `next_rng_key()` by default.
        name: shown when the module is printed.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.InstanceNorm(1)(jnp.array([[[1.0], [3.0]], [[10.0], [30.0]]])).round(2).ravel()
        Array([-1.,  1., -1.,  1.], dtype=float32)
    """

    _shown = ("num_channels", "create_scale", "create_offset", "data_format")

    def __init__(
        self,
        num_channels: int,
        create_scale: bool = True,
        create_offset: bool = True,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        data_format: str = "channels_last",
        *,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            num_channels,
            num_channels,
            slice(1, None),
            create_scale,
            create_offset,
            eps,
            scale_init,
            offset_init,
            data_format,
            rng_key=rng_key,
            name=name,
        )
