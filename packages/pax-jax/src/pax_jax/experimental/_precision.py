"""Training in mixed precision: a policy for each layer, and the scale of the loss."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from pax_jax import nn
from pax_jax._extras import extra
from pax_jax._mixed_precision import apply_mp_policy
from pax_jax._module import Module
from pax_jax._trees import copy_tree

T = TypeVar("T", bound=Module)

_CONVOLUTIONS = (nn.Conv1D, nn.Conv2D, nn.Conv3D)
_TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)
_HALF = (nn.Linear, *_CONVOLUTIONS, *_TRANSPOSED)
_BATCH_NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D)
_FULL = (*_BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm)


def default_mp_policy(module: T) -> T:
    """Give one module the usual mixed-precision policy, for `net.apply(default_mp_policy)`.

    Linear and convolutional layers compute in half precision, normalization in full precision; other
    modules are returned as they are. Parameters and outputs stay in full precision.

    Args:
        module: any module.

    Raises:
        ValueError: the module has a policy already.
        ImportError: jmp is not installed (extra `jmp`).

    Example:
        >>> import pax_jax as pax
        >>> net = pax.Sequential(pax.Linear(3, 3), pax.Dropout(0.5))
        >>> print(net.apply(pax.experimental.default_mp_policy).summary())
        Sequential
        ├── Linear(in_dim=3, out_dim=3, with_bias=True, mp_policy=FHF)
        └── Dropout(dropout_rate=0.5)
    """
    jmp = extra("jmp", "default_mp_policy")
    half, full = jmp.half_dtype(), jnp.float32
    for classes, compute in ((_HALF, half), (_FULL, full)):
        if isinstance(module, classes):
            policy = jmp.Policy(param_dtype=full, compute_dtype=compute, output_dtype=full)
            return apply_mp_policy(module, policy)
    return module


def apply_scaled_gradients(
    model: T, optimizer: Any, loss_scale: Any, grads: Any
) -> tuple[T, Any, Any]:
    """Take one step of an optimizer with gradients of a scaled loss.

    The gradients are divided by the scale. If one of them is infinite or not a number, model and
    optimizer stay as they are and only the scale is adjusted.

    Args:
        model: a module.
        optimizer: a module with `step(grads, model)`, made for the parameters of `model`.
        loss_scale: a `NoOpLossScale`, `StaticLossScale` or `DynamicLossScale` of jmp (extra `jmp`).
        grads: the gradients of `loss_scale.scale(loss)` with respect to the parameters of `model`.

    Returns:
        The new model, optimizer and loss scale; the arguments stay as they are.

    Raises:
        ImportError: jmp is not installed.

    Example:
        >>> import jax, jax.numpy as jnp, jmp
        >>> import pax_jax as pax
        >>> class Descent(pax.Optimizer):
        ...     def step(self, grads, model):
        ...         return model | jax.tree.map(jnp.subtract, ~model, grads)
        >>> net, scale = pax.Linear(1, 1), jmp.StaticLossScale(jnp.array(8.0))
        >>> grads = net.parameters().map(lambda p: jnp.full_like(p, 4.0))
        >>> net, _, _ = pax.experimental.apply_scaled_gradients(net, Descent(), scale, grads)
        >>> net.bias
        Array([-0.5], dtype=float32)
    """
    jmp = extra("jmp", "apply_scaled_gradients")
    grads = loss_scale.unscale(grads)
    finite = jmp.all_finite(grads)
    stepped = copy_tree(optimizer)
    new = (stepped.step(grads, copy_tree(model)), stepped)
    model, optimizer = jax.tree.map(
        lambda a, b: a if a is b else jnp.where(finite, a, b), new, (model, optimizer)
    )
    return model, optimizer, _adjusted(loss_scale, finite)


def _adjusted(loss_scale: Any, finite: jax.Array) -> Any:
    """Return the next loss scale; jmp's own needs arrays of JAX, of one dtype, and promotion."""
    if hasattr(loss_scale, "min_loss_scale"):
        scale = jnp.asarray(loss_scale.loss_scale)
        least = jnp.asarray(loss_scale.min_loss_scale, scale.dtype)
        loss_scale = dataclasses.replace(loss_scale, loss_scale=scale, min_loss_scale=least)
    with jax.numpy_dtype_promotion("standard"):
        return loss_scale.adjust(finite)
