"""Layers of dm-haiku as modules, made without an example of their inputs, and its `dynamic_unroll`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

import pax_tree
from pax_jax import nn
from pax_jax._extras import extra
from pax_jax._interop.haiku import HaikuModule, from_haiku
from pax_jax._module.trees import keep_changes, paired_modules
from pax_jax.nn import Lambda
from pax_jax.nn._initialize import Initializer

Sizes = int | Sequence[int]


def _haiku(name: str) -> Any:
    return extra("haiku", f"pax_jax.haiku.{name}")


def _make(cls: Any, inputs: tuple[Any, ...], options: dict[str, Any], **build: Any) -> HaikuModule:
    return from_haiku(cls, delay=False, **build)(**options)(*inputs)


def linear(
    in_dim: int,
    out_dim: int,
    with_bias: bool = True,
    w_init: Initializer | None = None,
    b_init: Initializer | None = None,
    *,
    rng_key: jax.Array | None = None,
) -> HaikuModule:
    """Make a `haiku.Linear` for inputs `(..., in_dim)`.

    Args:
        in_dim: size of the last axis of the inputs.
        out_dim: size of the last axis of the outputs.
        with_bias: whether to add a parameter.
        w_init: makes the weights from a shape and a dtype, as haiku's initializers.
        b_init: makes the bias in the same way.
        rng_key: key of the initializers; `next_rng_key()` by default.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.haiku.linear(2, 3)(jnp.ones((4, 2))).shape
        (4, 3)
    """
    options = {"output_size": out_dim, "with_bias": with_bias, "w_init": w_init, "b_init": b_init}
    return _make(_haiku("linear").Linear, (jnp.zeros((1, in_dim)),), options, rng_key=rng_key)


def layer_norm(num_channels: int, axis: int = -1) -> HaikuModule:
    """Make a `haiku.LayerNorm` with scale and offset, over an axis of `num_channels`.

    Args:
        num_channels: size of the axis.
        axis: over which axis to normalize.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.haiku.layer_norm(2)(jnp.array([[1.0, 3.0]])).round(2)
        Array([[-1.,  1.]], dtype=float32)
    """
    options = {"axis": axis, "create_scale": True, "create_offset": True, "param_axis": axis}
    inputs = _with_channels(4, num_channels, axis)
    return _make(_haiku("layer_norm").LayerNorm, (inputs,), options)


def batch_norm_2d(
    num_channels: int,
    axis: int = -1,
    decay_rate: float = 0.99,
    cross_replica_axis: str | None = None,
) -> HaikuModule:
    """Make a `haiku.BatchNorm` for images with the channels on `axis`.

    Args:
        num_channels: how many channels there are.
        axis: which axis holds them: the last, or 1.
        decay_rate: how much of its averages a step keeps.
        cross_replica_axis: name of a mapped axis over which batches are one.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> norm = pax.haiku.batch_norm_2d(3)
        >>> norm(jnp.ones((2, 4, 4, 3))).shape
        (2, 4, 4, 3)
        >>> norm.state["batch_norm/~/mean_ema"]["average"].ravel()
        Array([1., 1., 1.], dtype=float32)
    """
    options = {
        "create_scale": True,
        "create_offset": True,
        "decay_rate": decay_rate,
        "cross_replica_axis": cross_replica_axis,
        "data_format": "channels_last" if axis in (-1, 3) else "channels_first",
    }
    inputs = _with_channels(4, num_channels, axis)
    cls = _haiku("batch_norm_2d").BatchNorm
    return _make(cls, (inputs,), options, pass_is_training=True)


def lstm(hidden_dim: int) -> HaikuModule:
    """Make a `haiku.LSTM` for inputs `(batch, hidden_dim)`; it has `initial_state(batch_size)`.

    Args:
        hidden_dim: size of the inputs, the state and the outputs.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> core = pax.haiku.lstm(3)
        >>> y, state = core(jnp.ones((4, 3)), core.initial_state(4))
        >>> y.shape, state.cell.shape
        ((4, 3), (4, 3))
    """
    return _core(_haiku("lstm").LSTM, hidden_dim)


def gru(hidden_dim: int) -> HaikuModule:
    """Make a `haiku.GRU` for inputs `(batch, hidden_dim)`; it has `initial_state(batch_size)`.

    Args:
        hidden_dim: size of the inputs, the state and the outputs.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> core = pax.haiku.gru(3)
        >>> y, state = core(jnp.ones((4, 3)), core.initial_state(4))
        >>> y.shape
        (4, 3)
    """
    return _core(_haiku("gru").GRU, hidden_dim)


def _core(cls: Any, hidden_dim: int) -> HaikuModule:
    core = from_haiku(cls)(hidden_size=hidden_dim)
    return core.hk_init(jnp.zeros((1, hidden_dim)), core.initial_state(1))


def embed(vocab_size: int, embed_dim: int, w_init: Initializer | None = None) -> HaikuModule:
    """Make a `haiku.Embed` for integers less than `vocab_size`.

    Args:
        vocab_size: how many integers there are.
        embed_dim: size of the vector of each.
        w_init: makes the weights from a shape and a dtype, as haiku's initializers.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.haiku.embed(10, 3)(jnp.array([[1, 2]])).shape
        (1, 2, 3)
    """
    options = {"vocab_size": vocab_size, "embed_dim": embed_dim, "w_init": w_init}
    return _make(_haiku("embed").Embed, (jnp.zeros((1, 1), jnp.int32),), options)


def conv_1d(
    input_channels: int,
    output_channels: int,
    kernel_shape: Sizes,
    stride: Sizes = 1,
    rate: Sizes = 1,
    padding: Any = "SAME",
    with_bias: bool = True,
    w_init: Initializer | None = None,
    b_init: Initializer | None = None,
    data_format: str = "NWC",
    feature_group_count: int = 1,
) -> HaikuModule:
    """Make a `haiku.Conv1D` for inputs of `data_format` "NWC" or "NCW".

    Args:
        input_channels: channels of the inputs.
        output_channels: channels of the outputs.
        kernel_shape: size of the window, one int or one for each axis.
        stride: steps of the window, in the same forms.
        rate: distance between the elements of the window that are used.
        padding: "SAME", "VALID", or what haiku takes.
        with_bias: whether to add a parameter.
        w_init: makes the weights from a shape and a dtype, as haiku's initializers.
        b_init: makes the bias in the same way.
        data_format: where the channels are.
        feature_group_count: into how many groups the channels are divided.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.haiku.conv_1d(3, 8, 3, stride=2)(jnp.ones((1, 16, 3))).shape
        (1, 8, 8)
    """
    return _conv(_haiku("conv_1d").Conv1D, **locals())


def conv_2d(
    input_channels: int,
    output_channels: int,
    kernel_shape: Sizes,
    stride: Sizes = 1,
    rate: Sizes = 1,
    padding: Any = "SAME",
    with_bias: bool = True,
    w_init: Initializer | None = None,
    b_init: Initializer | None = None,
    data_format: str = "NHWC",
    feature_group_count: int = 1,
) -> HaikuModule:
    """Make a `haiku.Conv2D` for images of `data_format` "NHWC" or "NCHW".

    Args:
        input_channels: channels of the inputs.
        output_channels: channels of the outputs.
        kernel_shape: size of the window, one int or one for each axis.
        stride: steps of the window, in the same forms.
        rate: distance between the elements of the window that are used.
        padding: "SAME", "VALID", or what haiku takes.
        with_bias: whether to add a parameter.
        w_init: makes the weights from a shape and a dtype, as haiku's initializers.
        b_init: makes the bias in the same way.
        data_format: where the channels are.
        feature_group_count: into how many groups the channels are divided.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.haiku.conv_2d(3, 8, 3, stride=2)(jnp.ones((1, 16, 16, 3))).shape
        (1, 8, 8, 8)
    """
    return _conv(_haiku("conv_2d").Conv2D, **locals())


def conv_1d_transpose(
    input_channels: int,
    output_channels: int,
    kernel_shape: Sizes,
    stride: Sizes = 1,
    output_shape: Sizes | None = None,
    padding: Any = "SAME",
    with_bias: bool = True,
    w_init: Initializer | None = None,
    b_init: Initializer | None = None,
    data_format: str = "NWC",
    mask: jax.Array | None = None,
) -> HaikuModule:
    """Make a `haiku.Conv1DTranspose` for inputs of `data_format` "NWC" or "NCW".

    Args:
        input_channels: channels of the inputs.
        output_channels: channels of the outputs.
        kernel_shape: size of the window, one int or one for each axis.
        stride: steps of the window, in the same forms.
        output_shape: size of the outputs; by default the stride times that of the inputs.
        padding: "SAME", "VALID", or what haiku takes.
        with_bias: whether to add a parameter.
        w_init: makes the weights from a shape and a dtype, as haiku's initializers.
        b_init: makes the bias in the same way.
        data_format: where the channels are.
        mask: multiplied with the weights.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.haiku.conv_1d_transpose(3, 8, 3, stride=2)(jnp.ones((1, 8, 3))).shape
        (1, 16, 8)
    """
    return _conv(_haiku("conv_1d_transpose").Conv1DTranspose, **locals())


def conv_2d_transpose(
    input_channels: int,
    output_channels: int,
    kernel_shape: Sizes,
    stride: Sizes = 1,
    output_shape: Sizes | None = None,
    padding: Any = "SAME",
    with_bias: bool = True,
    w_init: Initializer | None = None,
    b_init: Initializer | None = None,
    data_format: str = "NHWC",
    mask: jax.Array | None = None,
) -> HaikuModule:
    """Make a `haiku.Conv2DTranspose` for images of `data_format` "NHWC" or "NCHW".

    Args:
        input_channels: channels of the inputs.
        output_channels: channels of the outputs.
        kernel_shape: size of the window, one int or one for each axis.
        stride: steps of the window, in the same forms.
        output_shape: size of the outputs; by default the stride times that of the inputs.
        padding: "SAME", "VALID", or what haiku takes.
        with_bias: whether to add a parameter.
        w_init: makes the weights from a shape and a dtype, as haiku's initializers.
        b_init: makes the bias in the same way.
        data_format: where the channels are.
        mask: multiplied with the weights.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.haiku.conv_2d_transpose(3, 8, 3, stride=2)(jnp.ones((1, 8, 8, 3))).shape
        (1, 16, 16, 8)
    """
    return _conv(_haiku("conv_2d_transpose").Conv2DTranspose, **locals())


def _conv(cls: Any, input_channels: int, **options: Any) -> HaikuModule:
    data_format = options["data_format"]
    inputs = _with_channels(len(data_format), input_channels, data_format.index("C"))
    return _make(cls, (inputs,), options)


def _with_channels(ndim: int, channels: int, axis: int) -> jax.Array:
    shape = [1] * ndim
    shape[axis] = channels
    return jnp.zeros(shape)


def avg_pool(
    window_shape: Sizes, strides: Sizes, padding: str, channel_axis: int | None = -1
) -> Lambda:
    """Make a module that pools as `haiku.avg_pool` does with these arguments.

    Args:
        window_shape: size of the window, one int for all axes between the first and the channels,
            or one for each of the last axes.
        strides: steps of the window, in the same forms.
        padding: "SAME" or "VALID".
        channel_axis: which axis holds the channels; None if there is none.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.haiku.avg_pool(2, 2, "SAME")(jnp.ones((1, 4, 4, 3))).shape
        (1, 2, 2, 3)
    """
    return _pool(nn.avg_pool, **locals())


def max_pool(
    window_shape: Sizes, strides: Sizes, padding: str, channel_axis: int | None = -1
) -> Lambda:
    """Make a module that pools as `haiku.max_pool` does with these arguments.

    Args:
        window_shape: size of the window, one int for all axes between the first and the channels,
            or one for each of the last axes.
        strides: steps of the window, in the same forms.
        padding: "SAME" or "VALID".
        channel_axis: which axis holds the channels; None if there is none.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> pax.haiku.max_pool(2, 2, "SAME")(jnp.ones((1, 4, 4, 3))).shape
        (1, 2, 2, 3)
    """
    return _pool(nn.max_pool, **locals())


def _pool(pool: Callable[..., Any], **options: Any) -> Lambda:
    return Lambda(functools.partial(_pooled, pool, **options), name=pool.__name__)


def _pooled(
    pool: Callable[..., Any], x: jax.Array, window_shape: Sizes, strides: Sizes, **options: Any
) -> jax.Array:
    """Pool with sizes for the last axes, as haiku takes them."""
    window_shape, strides = (
        size if isinstance(size, int) else (*(1,) * (x.ndim - len(size)), *size)
        for size in (window_shape, strides)
    )
    return pool(x, window_shape, strides, **options)


def dynamic_unroll(
    core: Any,
    input_sequence: Any,
    initial_state: Any,
    time_major: bool = True,
    reverse: bool = False,
    return_all_states: bool = False,
    unroll: int = 1,
) -> tuple[Any, Any]:
    """Call a recurrent core for every step of a sequence, in one `jax.lax.scan`.

    As `haiku.dynamic_unroll`. What the core changes in itself (a random key, say) is kept.

    Args:
        core: a module, called as `core(inputs, state)`, that returns an output and the next state.
        input_sequence: pytree of arrays `(time, batch, ...)`.
        initial_state: the state before the first step.
        time_major: whether time is the first axis of inputs and outputs; else it is the second.
        reverse: whether to go from the last step to the first.
        return_all_states: whether to return the states of all steps rather than the last one.
        unroll: how many steps one turn of the compiled loop makes.

    Returns:
        The outputs of all steps, and the last state or all states.

    Raises:
        ValueError: the core has no parameters yet.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> from pax_jax.haiku import dynamic_unroll
        >>> core = pax.haiku.gru(3)
        >>> outputs, state = dynamic_unroll(core, jnp.ones((7, 4, 3)), core.initial_state(4))
        >>> outputs.shape, state.shape
        ((7, 4, 3), (4, 3))
    """
    leaves, treedef = pax_tree.tree_flatten(core, none_is_leaf=True)
    trained = pax_tree.tree_leaves(core.parameters(), none_is_leaf=True)
    states = [i for i, leaf in enumerate(leaves) if leaf is not None and trained[i] is None]
    changed: set[int] = set()

    def step(carry: Any, inputs: Any) -> tuple[Any, Any]:
        values, state = carry
        now = dict(zip(states, values, strict=True))
        module = treedef.unflatten([now.get(i, leaf) for i, leaf in enumerate(leaves)])
        output, state = module(inputs, state)
        after = pax_tree.tree_leaves(module, none_is_leaf=True)
        if len(after) != len(leaves):
            raise ValueError(
                f"{core!r} makes its parameters at its first call, which cannot be inside of a "
                "loop. Give it an example of its inputs first: `core = core.hk_init(inputs, state)`."
            )
        changed.update(i for i in states if after[i] is not now[i])
        return ([after[i] for i in states], state), (output, state if return_all_states else None)

    start = ([leaves[i] for i in states], initial_state)
    sequence = input_sequence if time_major else _swap_axes(input_sequence)
    (values, state), (outputs, all_states) = jax.lax.scan(
        step, start, sequence, reverse=reverse, unroll=unroll
    )
    for i, value in zip(states, values, strict=True):
        if i in changed:
            leaves[i] = value
    changed_core = treedef.unflatten(leaves)
    keep_changes(core, core, changed_core, paired_modules(changed_core, core))
    last = all_states if return_all_states else state
    if time_major:
        return outputs, last
    return _swap_axes(outputs), _swap_axes(last) if return_all_states else last


def _swap_axes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), tree)
