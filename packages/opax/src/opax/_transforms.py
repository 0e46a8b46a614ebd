"""The transformations and the schedule that are not optax's own."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import pax_tree
from opax._layout import Layout


class ClipByGlobalNormState(NamedTuple):
    """The norm of all gradients together in the last step, before they were clipped; at first 0."""

    global_norm: jax.Array


def clip_by_global_norm(max_norm: Any) -> optax.GradientTransformation:
    """Clip as `optax.clip_by_global_norm`, and keep the norm, which the compiler computes once."""
    inner = optax.clip_by_global_norm(max_norm)

    def init(params: Any) -> ClipByGlobalNormState:
        dtypes = (jnp.asarray(leaf).real.dtype for leaf in jax.tree.leaves(params))
        dtype = functools.reduce(jnp.promote_types, dtypes, jnp.dtype("float32"))
        return ClipByGlobalNormState(jnp.zeros((), dtype))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        norm = optax.tree.norm(updates)
        updates, _ = inner.update(updates, inner.init(params), params)
        return updates, ClipByGlobalNormState(jnp.asarray(norm, state.global_norm.dtype))

    return optax.GradientTransformation(init, update)


class ParamsEmaState(NamedTuple):
    """The average of the parameters after every step, and before the first."""

    params_ema: Any


def params_ema(decay: float, accumulator_dtype: Any = None) -> optax.GradientTransformation:
    """Keep an exponential moving average of the parameters; updates pass unchanged.

    It belongs at the end of a chain, where the updates are those that are added to the parameters.
    `model.update(optimizer[-1].params_ema)` is the model with averaged parameters.

    The average is `decay * average + (1 - decay) * parameters`, from the first parameters on
    (Polyak and Juditsky, 1992).

    Args:
        decay: how much of the average each step keeps, between 0 and 1.
        accumulator_dtype: the dtype of the average; where it is None that of the parameters, and
            float32 for those of lower precision, to which a step adds less than they can hold.

    Returns:
        A transformation.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax
        >>> params = {"w": jnp.ones(2)}
        >>> optimizer = opax.chain(opax.sgd(1.0), opax.params_ema(0.5))(params)
        >>> params = optimizer.step({"w": jnp.ones(2)}, params)
        >>> params["w"], optimizer[-1].params_ema["w"]
        (Array([0., 0.], dtype=float32), Array([0.5, 0.5], dtype=float32))
    """

    def init(params: Any) -> ParamsEmaState:
        return ParamsEmaState(jax.tree.map(_accumulator, params))

    def _accumulator(leaf: Any) -> jax.Array:
        dtype = jnp.result_type(leaf)
        is_low = jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32
        return jnp.asarray(leaf, accumulator_dtype or (jnp.float32 if is_low else dtype))

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        if params is None:
            raise ValueError("params_ema needs the parameters, whose average it keeps, got None.")
        new = optax.apply_updates(params, updates)
        new = jax.tree.map(lambda x, average: jnp.astype(x, average.dtype), new, state.params_ema)
        return updates, ParamsEmaState(optax.incremental_update(new, state.params_ema, 1 - decay))

    return optax.GradientTransformation(init, update)


class MonitorNormsState(NamedTuple):
    """The norms of each group in the last step, at first 0, and the state of what is wrapped."""

    grad_norm: dict[Any, jax.Array]
    update_norm: dict[Any, jax.Array]
    param_norm: dict[Any, jax.Array]
    inner_state: Any


def monitor_norms(
    inner: optax.GradientTransformation, param_labels: Any = None
) -> optax.GradientTransformationExtraArgs:
    """Run a transformation, and keep the norms of gradients, updates and parameters of each group.

    They are those of the last step, the parameters before it: `optimizer.grad_norm`, `update_norm` and
    `param_norm`, each a dict from labels to arrays. In a compiled step they cost one pass over what is
    there already.

    Args:
        inner: the transformation.
        param_labels: labels of the parameters, as in `multi_transform`; by default all are one group,
            of the label "all".

    Returns:
        A transformation of the same updates, which needs the parameters.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax
        >>> params = {"w": jnp.array([3.0, 4.0]), "b": jnp.ones(1)}
        >>> tx = opax.monitor_norms(opax.sgd(0.5), {"b": "biases", "**": "rest"})
        >>> optimizer = tx(params)
        >>> params = optimizer.step(params, params)
        >>> optimizer.grad_norm["rest"], optimizer.update_norm["rest"]
        (Array(5., dtype=float32), Array(2.5, dtype=float32))
    """
    inner = optax.with_extra_args_support(inner)

    def init(params: Any) -> MonitorNormsState:
        zeros = jax.tree.map(jnp.zeros_like, _norms(params, param_labels, params))
        return MonitorNormsState(zeros, zeros, zeros, inner.init(params))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        if params is None:
            raise ValueError("monitor_norms needs the parameters, whose norms it keeps, got None.")
        new, inner_state = inner.update(updates, state.inner_state, params, **extra_args)
        norms = [_norms(tree, param_labels, params) for tree in (updates, new, params)]
        return new, MonitorNormsState(norms[0], norms[1], norms[2], inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def _norms(tree: Any, labels: Any, params: Any) -> dict[Any, jax.Array]:
    """Return the norm of each group in float32, or in float64 where there is any."""
    names = group_labels(labels, params)
    groups: dict[Any, list[Any]] = {name: [] for name in sorted(set(names), key=str)}
    for leaf, name in zip(pax_tree.tree_leaves(tree), names, strict=True):
        groups[name].append(
            jnp.asarray(leaf, jnp.promote_types(jnp.result_type(leaf), jnp.float32))
        )
    return {name: optax.tree.norm(leaves) for name, leaves in groups.items()}


def group_labels(labels: Any, params: Any) -> list[Any]:
    """Return the label of each parameter; without labels all are of the group "all"."""
    if labels is None:
        return ["all"] * len(pax_tree.tree_leaves(params))
    labels = labels(params) if callable(labels) else labels
    return pax_tree.broadcast_prefix(labels, params)


def flattened(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Run a transformation on one vector per dtype rather than on every leaf.

    The state then has a few long vectors where it had as many arrays as the parameters have, which
    costs less to pass to a compiled step when the leaves are many and small. Leaves that are spread over
    the devices of a mesh stand in an array of their own, whose rows are spread in the same way. Right for
    transformations that treat every element, or all of them together, in the same way (`adam`, `sgd`,
    `lion`, `clip_by_global_norm`); those that look at single leaves (`lamb`, `adafactor`, `muon`, masks)
    are refused. `optax.flatten` makes one vector of all, of one dtype.

    Args:
        inner: the transformation.

    Returns:
        A transformation of the same updates.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax
        >>> params = {"b": jnp.ones(2), "h": jnp.ones(3, jnp.bfloat16), "w": jnp.ones((2, 2))}
        >>> opax.flattened(opax.trace(0.9))(params).trace
        {'bfloat16': Array([0, 0, 0], dtype=bfloat16), 'float32': Array([0., 0., 0., 0., 0., 0.], dtype=float32)}
    """
    inner = optax.with_extra_args_support(inner)

    def init(params: Any) -> Any:
        layout = Layout.of(params)
        return FlattenedState(layout, layout.placed(inner.init(layout.vectors(params))))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        layout = state.layout
        params = None if params is None else layout.vectors(params)
        vectors = layout.vectors(updates)
        vectors, inner_state = inner.update(vectors, state.inner_state, params, **extra_args)
        return layout.split(vectors, updates), FlattenedState(layout, layout.placed(inner_state))

    return optax.GradientTransformationExtraArgs(init, update)


class FlattenedState(NamedTuple):
    """How the leaves stand in the vectors, which is static, and the state for these."""

    layout: Layout
    inner_state: Any


def exponential_decay(
    initial_value: float,
    step_size: int,
    reduce_factor: float = 2.0,
    min_value: float | None = None,
) -> optax.Schedule:
    """Make what `opax.schedule.exponential_decay` calls, with the arguments of that."""
    rate = 1 / reduce_factor
    return optax.exponential_decay(initial_value, step_size, decay_rate=rate, end_value=min_value)
