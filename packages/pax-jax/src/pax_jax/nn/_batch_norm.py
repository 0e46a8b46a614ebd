"""Batch normalization."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from pax_jax._module import Module
from pax_jax._trees import parameters_method
from pax_jax.nn._normalize import precise, scaled


class _BatchNorm(Module):
    """Normalization of every channel over the batch and the other axes."""

    parameters = parameters_method("scale", "offset")
    _shown = ("num_channels", "create_scale", "create_offset", "decay_rate", "eps", "data_format")
    _formats: ClassVar[tuple[str, ...]]

    scale: jax.Array | None
    offset: jax.Array | None
    ema_mean: jax.Array
    ema_var: jax.Array
    ema_weight: jax.Array

    def __init__(
        self,
        num_channels: int,
        create_scale: bool,
        create_offset: bool,
        decay_rate: float,
        eps: float,
        data_format: str,
        cross_replica_axis: str | tuple[str, ...] | None,
        name: str | None,
    ) -> None:
        super().__init__(name=name)
        if data_format not in self._formats:
            raise ValueError(
                f"data_format is {' or '.join(map(repr, self._formats))}, got {data_format!r}."
            )
        if not 0.0 <= decay_rate <= 1.0:
            raise ValueError(f"decay_rate is from 0 to 1, got {decay_rate}.")
        self.num_channels = num_channels
        self.create_scale = create_scale
        self.create_offset = create_offset
        self.decay_rate = decay_rate
        self.eps = eps
        self.data_format = data_format
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
        center = jax.lax.stop_gradient(self.ema_mean.astype(wide.dtype))
        shifted = wide - center.reshape(shape)
        if self.training:
            mean, var = self._batch_statistics(shifted, axis)
            self._update(mean + center, var)
            shifted = shifted - mean.reshape(shape)
        else:
            var = self.ema_var.astype(wide.dtype)
        factor = jax.lax.rsqrt(var + self.eps).reshape(shape)
        return scaled(shifted, factor, self.scale, self.offset, axis).astype(x.dtype)

    def _channel_axis(self, x: jax.Array) -> int:
        channel_last = self.data_format[-1] == "C"
        axis = x.ndim - 1 if channel_last else 1
        if not self._accepts(x) or x.shape[axis] != self.num_channels:
            raise ValueError(
                f"{self!r} expects an input {self.data_format} with {self.num_channels} "
                f"channels, got {x.shape}."
            )
        return axis

    def _accepts(self, x: jax.Array) -> bool:
        return x.ndim == len(self.data_format)

    def _batch_statistics(self, x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
        """Return mean and variance of the batch, in one pass, over all replicas.

        The difference of two means is exact enough because the average of the batches before has
        been taken from `x`.
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


class BatchNorm1D(_BatchNorm):
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
        data_format: "NWC" or "NCW".
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

    def __init__(
        self,
        num_channels: int,
        create_scale: bool = True,
        create_offset: bool = True,
        decay_rate: float = 0.9,
        eps: float = 1e-5,
        data_format: str = "NWC",
        *,
        cross_replica_axis: str | tuple[str, ...] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            num_channels,
            create_scale,
            create_offset,
            decay_rate,
            eps,
            data_format,
            cross_replica_axis,
            name,
        )

    def _accepts(self, x: jax.Array) -> bool:
        return x.ndim in (2, 3)


class BatchNorm2D(_BatchNorm):
    """Batch normalization of images; as `BatchNorm1D`, with `data_format` "NHWC" or "NCHW".

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.BatchNorm2D(3)(jnp.ones((2, 4, 4, 3))).shape
        (2, 4, 4, 3)
    """

    _formats = ("NHWC", "NCHW")

    def __init__(
        self,
        num_channels: int,
        create_scale: bool = True,
        create_offset: bool = True,
        decay_rate: float = 0.9,
        eps: float = 1e-5,
        data_format: str = "NHWC",
        *,
        cross_replica_axis: str | tuple[str, ...] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            num_channels,
            create_scale,
            create_offset,
            decay_rate,
            eps,
            data_format,
            cross_replica_axis,
            name,
        )


class BatchNorm3D(_BatchNorm):
    """Batch normalization of volumes; as `BatchNorm1D`, with `data_format` "NDHWC" or "NCDHW".

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.BatchNorm3D(3)(jnp.ones((2, 2, 4, 4, 3))).shape
        (2, 2, 4, 4, 3)
    """

    _formats = ("NDHWC", "NCDHW")

    def __init__(
        self,
        num_channels: int,
        create_scale: bool = True,
        create_offset: bool = True,
        decay_rate: float = 0.9,
        eps: float = 1e-5,
        data_format: str = "NDHWC",
        *,
        cross_replica_axis: str | tuple[str, ...] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            num_channels,
            create_scale,
            create_offset,
            decay_rate,
            eps,
            data_format,
            cross_replica_axis,
            name,
        )
