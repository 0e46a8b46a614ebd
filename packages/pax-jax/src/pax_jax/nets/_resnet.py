"""Residual networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pax_jax._module.module import Module
from pax_jax._rng import split_key
from pax_jax.nn import BatchNorm2D, Conv2D, Linear, max_pool
from pax_jax.nn._lambda import NamedFunction


class _Style(NamedTuple):
    """What all blocks of a network have in common."""

    data_format: str
    padding: str
    bn_config: tuple[tuple[str, Any], ...]
    bottleneck: bool
    activation: NamedFunction

    def conv(self, in_features: int, out_features: int, kernel: int, **options: Any) -> Conv2D:
        """Make a convolution without bias."""
        options.setdefault("with_bias", False)
        options.setdefault("data_format", self.data_format)
        options.setdefault("padding", self.amounts(kernel))
        return Conv2D(in_features, out_features, kernel, **options)

    def norm(self, channels: int) -> BatchNorm2D:
        return BatchNorm2D(channels, **{"data_format": self.data_format, **dict(self.bn_config)})

    def amounts(self, kernel: int) -> str | int:
        return kernel // 2 if self.padding == "HALF" else self.padding


class ResNetBlock(Module):
    """Convolutions whose output is added to their input, with or without a bottleneck."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        use_projection: bool,
        style: _Style,
        rng_key: jax.Array,
    ) -> None:
        super().__init__()
        if not use_projection and (in_channels != out_channels or stride != 1):
            raise ValueError(
                f"A block from {in_channels} to {out_channels} channels with stride {stride} needs "
                "a projection: give use_projection=True for its group."
            )
        if style.bottleneck and out_channels % 4:
            raise ValueError(f"channels_per_group of a bottleneck divide by 4, got {out_channels}.")
        keys = jax.random.split(rng_key, 4)
        conv, inner = style.conv, out_channels // 4 if style.bottleneck else out_channels
        if style.bottleneck:
            convs = [
                conv(in_channels, inner, 1, rng_key=keys[0]),
                conv(inner, inner, 3, stride=stride, rng_key=keys[1]),
                conv(inner, out_channels, 1, rng_key=keys[2]),
            ]
        else:
            convs = [
                conv(in_channels, inner, 3, stride=stride, rng_key=keys[0]),
                conv(inner, out_channels, 3, rng_key=keys[1]),
            ]
        self._activation = style.activation
        self.layers = [(c, style.norm(c.out_features)) for c in convs]
        self.projection = None
        if use_projection:
            projection = conv(in_channels, out_channels, 1, stride=stride, rng_key=keys[3])
            self.projection = (projection, style.norm(out_channels))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images to images, `stride` times smaller."""
        shortcut = x
        if self.projection is not None:
            conv, norm = self.projection
            shortcut = norm(conv(x))
        for index, (conv, norm) in enumerate(self.layers):
            x = norm(conv(self._activation.call(x) if index else x))
        return self._activation.call(x + shortcut)


class ResNet(Module):
    """A residual network for images, as `haiku.nets.ResNet` (https://arxiv.org/abs/1512.03385).

    Args:
        input_channels: channels of the images.
        blocks_per_group: number of blocks of each of the four groups.
        num_classes: size of the output.
        bottleneck: whether a block is three convolutions with few channels in the middle, not two.
        channels_per_group: channels of the output of each group.
        use_projection: whether the first block of a group projects its input to the new channels.
        logits_config: arguments of the last `Linear`, whose weights are zeros at first.
        initial_conv_config: arguments of the first `Conv2D`.
        bn_config: arguments of all `BatchNorm2D`.
        data_format: "NCHW" or "NHWC", of the input.
        padding: "HALF", half of the window on both sides as in torchvision, whose weights then fit, or
            "SAME" as in haiku.
        activation: the function after normalizations and sums; `jax.nn.relu` by default.
        norm_eps: added to the variance by each `BatchNorm2D`: another way to write `bn_config`'s `eps`.
        rng_key: key of the weights; `next_rng_key()` by default.
        name: shown when the module is printed.

    Raises:
        ValueError: an argument is not one of these.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> def small(key):
        ...     sizes = {"bottleneck": False, "channels_per_group": (8, 16, 16, 32)}
        ...     net = pax.nets.ResNet(1, (1, 1, 1, 1), 10, **sizes, rng_key=key)
        ...     return net(jnp.ones((2, 1, 16, 16)))
        >>> jax.eval_shape(small, jax.random.key(0)).shape
        (2, 10)
    """

    def __init__(
        self,
        input_channels: int,
        blocks_per_group: Sequence[int],
        num_classes: int,
        bottleneck: bool = True,
        channels_per_group: Sequence[int] = (256, 512, 1024, 2048),
        use_projection: Sequence[bool] = (True, True, True, True),
        logits_config: Mapping[str, Any] | None = None,
        initial_conv_config: Mapping[str, Any] | None = None,
        bn_config: Mapping[str, Any] | None = None,
        *,
        data_format: str = "NCHW",
        padding: str = "HALF",
        activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
        norm_eps: float | None = None,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        _check_four(
            blocks_per_group=blocks_per_group,
            channels_per_group=channels_per_group,
            use_projection=use_projection,
        )
        if padding not in ("HALF", "SAME"):
            raise ValueError(f"padding is 'HALF' or 'SAME', got {padding!r}.")
        self.data_format = data_format
        self.padding = padding
        self._activation = NamedFunction(activation)
        norm = _with_eps(bn_config, norm_eps)
        style = _Style(data_format, padding, norm, bottleneck, self._activation)
        keys = split_key(rng_key, 6)
        first: dict[str, Any] = {
            "out_features": 64,
            "kernel": 7,
            "stride": 2,
            "rng_key": keys[0],
            **(initial_conv_config or {}),
        }
        first["kernel"] = first.pop("kernel_shape", first["kernel"])
        self.initial_conv = style.conv(input_channels, **first)
        self.initial_norm = style.norm(self.initial_conv.out_features)
        widths = (self.initial_conv.out_features, *channels_per_group)
        strides = (1, 2, 2, 2)
        groups = zip(
            pairwise(widths), blocks_per_group, strides, use_projection, keys[1:5], strict=True
        )
        self.groups = [_group(*group, style) for group in groups]
        logits = {
            "w_init": jax.nn.initializers.zeros,
            "rng_key": keys[5],
            **(logits_config or {}),
        }
        self.logits = Linear(widths[-1], num_classes, **logits)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images of `data_format` to logits `(n, num_classes)`."""
        channel_axis = self.data_format.index("C")
        x = self._activation.call(self.initial_norm(self.initial_conv(x)))
        pads = 1 if self.padding == "HALF" else "SAME"
        x = max_pool(x, 3, 2, pads, channel_axis)
        for group in self.groups:
            for block in group:
                x = block(x)
        return self.logits(jnp.mean(x, tuple(a for a in (1, 2, 3) if a != channel_axis)))


def _group(
    channels: tuple[int, int],
    num_blocks: int,
    stride: int,
    use_projection: bool,
    rng_key: jax.Array,
    style: _Style,
) -> list[ResNetBlock]:
    """Make blocks, of which the first takes the step and the new channels."""
    first, width = channels
    keys = jax.random.split(rng_key, num_blocks)
    head = ResNetBlock(first, width, stride, use_projection, style, keys[0])
    return [head, *(ResNetBlock(width, width, 1, False, style, key) for key in keys[1:])]


def _with_eps(
    bn_config: Mapping[str, Any] | None, norm_eps: float | None
) -> tuple[tuple[str, Any], ...]:
    config = dict(bn_config or {})
    if norm_eps is not None and "eps" in config:
        raise ValueError(
            f"Both norm_eps={norm_eps} and bn_config's eps={config['eps']} are given; give one of them."
        )
    return tuple((config if norm_eps is None else {**config, "eps": norm_eps}).items())


def _check_four(**settings: Sequence[Any]) -> None:
    for what, values in settings.items():
        if len(values) != 4:
            raise ValueError(f"{what} has a value for each of 4 groups, got {tuple(values)}.")


class _Standard(ResNet):
    """A network of the paper."""

    _blocks: tuple[int, int, int, int]
    _shown = ("input_channels", "num_classes")

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        logits_config: Mapping[str, Any] | None = None,
        initial_conv_config: Mapping[str, Any] | None = None,
        bn_config: Mapping[str, Any] | None = None,
        *,
        data_format: str = "NCHW",
        padding: str = "HALF",
        activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
        norm_eps: float | None = None,
        rng_key: jax.Array | None = None,
        name: str | None = None,
    ) -> None:
        bottleneck = self._bottleneck
        width = 256 if bottleneck else 64
        super().__init__(
            input_channels,
            self._blocks,
            num_classes,
            bottleneck,
            (width, 2 * width, 4 * width, 8 * width),
            (bottleneck, True, True, True),
            logits_config,
            initial_conv_config,
            bn_config,
            data_format=data_format,
            padding=padding,
            activation=activation,
            norm_eps=norm_eps,
            rng_key=rng_key,
            name=name,
        )
        self.input_channels = input_channels
        self.num_classes = num_classes

    _bottleneck = True


class ResNet18(_Standard):
    """The residual network of 18 layers; arguments as in `ResNet`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> def logits(key):
        ...     net = pax.nets.ResNet18(input_channels=3, num_classes=10, rng_key=key)
        ...     return net(jnp.ones((2, 3, 32, 32)))
        >>> jax.eval_shape(logits, jax.random.key(0)).shape
        (2, 10)
    """

    _blocks = (2, 2, 2, 2)
    _bottleneck = False


class ResNet34(_Standard):
    """The residual network of 34 layers; as `ResNet18`."""

    _blocks = (3, 4, 6, 3)
    _bottleneck = False


class ResNet50(_Standard):
    """The residual network of 50 layers; as `ResNet18`."""

    _blocks = (3, 4, 6, 3)


class ResNet101(_Standard):
    """The residual network of 101 layers; as `ResNet18`."""

    _blocks = (3, 4, 23, 3)


class ResNet152(_Standard):
    """The residual network of 152 layers; as `ResNet18`."""

    _blocks = (3, 8, 36, 3)


class ResNet200(_Standard):
    """The residual network of 200 layers; as `ResNet18`."""

    _blocks = (3, 24, 36, 3)
