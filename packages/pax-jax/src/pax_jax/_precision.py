"""Mixed precision: modules that compute in another dtype than that of their parameters."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

import pax_tree
from pax_jax import nn
from pax_jax._extras import extra
from pax_jax._module.kinds import STATE, is_array, is_module
from pax_jax._module.meta import derive, with_class
from pax_jax._module.module import Module
from pax_jax._module.trees import copy_tree, keep_changes, paired_modules
from pax_jax._show.titles import split, title
from pax_jax.nn._conv import ConvND
from pax_jax.nn._norm import Norm
from pax_tree import record_flatten, record_unflatten

M = TypeVar("M", bound=Module)

_LETTERS = {"float64": "D", "float32": "F", "float16": "H", "bfloat16": "H"}


def apply_mp_policy(module: M, mp_policy: Any) -> M:
    """Return a copy of a module that computes by a mixed-precision policy of jmp.

    Its parameters are kept in the policy's parameter dtype. Its own methods (`__call__` and those that
    not every module has) run on a copy whose parameters are in the compute dtype, with their arguments
    in that dtype too; what they return is in the output dtype, and states that they change are kept.
    States, such as counts and moving averages, always have the dtype that the module gave them: in half
    precision they would stand still.

    Args:
        module: any module; the modules inside it compute in the same dtype.
        mp_policy: a `jmp.Policy` (extra `jmp`).

    Returns:
        A module of a subclass of the same name.

    Raises:
        ValueError: `module` has a policy already.
        TypeError: `mp_policy` is no policy.
        ImportError: jmp is not installed.

    Example:
        >>> import jmp
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> policy = jmp.get_policy("params=float32,compute=bfloat16,output=float32")
        >>> layer = pax.apply_mp_policy(pax.Linear(3, 3), policy)
        >>> layer, layer(jnp.ones((1, 3))).dtype
        (Linear(...mp_policy=FHF...), dtype('float32'))
    """
    jmp = extra("jmp", "apply_mp_policy")
    if not isinstance(mp_policy, jmp.Policy):
        raise TypeError(
            f"apply_mp_policy expects a jmp.Policy, such as `jmp.get_policy('half')`, "
            f"got {mp_policy!r} of type {type(mp_policy).__name__}."
        )
    if hasattr(module, "mp_policy"):
        raise ValueError(
            f"{title(module)} has a mixed-precision policy already. Take it off first: "
            "`pax_jax.unwrap_mp_policy(module)`."
        )
    cast = _cast(module, mp_policy.cast_to_param)
    return with_class(cast, _mixed(type(module)), mp_policy=mp_policy)


def unwrap_mp_policy(module: M) -> M:
    """Return a copy of a module without its mixed-precision policy; its arrays keep their dtypes.

    Args:
        module: a module of `apply_mp_policy`, or any other, which stays as it is.

    Example:
        >>> import jmp
        >>> import pax_jax as pax
        >>> layer = pax.apply_mp_policy(pax.Linear(3, 3), jmp.get_policy("float32"))
        >>> pax.unwrap_mp_policy(layer)
        Linear(in_dim=3, out_dim=3, with_bias=True, weight=...)
    """
    base = _plain(type(module))
    return module.copy() if base is None else with_class(module.copy(), base, mp_policy=None)


def _mixed(base: type) -> type:
    """Return the subclass of `base` whose methods follow a policy."""
    return derive(_mixed, base, methods=lambda: _methods(base))


def _plain(cls: Any) -> Any:
    """Return the class of which `cls` is the mixed-precision form, or `None`."""
    make, args = vars(cls).get("_recipe", (None, ()))
    return args[0] if make is _mixed else None


def _methods(base: type) -> dict[str, Any]:
    own = sorted({*dir(base)} - {*dir(Module)})
    static = {name: inspect.getattr_static(base, name) for name in own}
    functions = {
        name: _in_policy(value)
        for name, value in static.items()
        if isinstance(value, FunctionType) and (name == "__call__" or not name.startswith("_"))
    }
    return functions | {"_title": property(_title)}


def _in_policy(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        policy = self.mp_policy
        everything = (unwrap_mp_policy(self), args, kwargs)
        plain, args, kwargs = _cast(everything, policy.cast_to_compute)
        before = plain.copy()
        kept = paired_modules(plain, before)
        output = method(plain, *args, **kwargs)
        keep_changes(self, before, plain, kept, functools.partial(_in_own_dtype, policy))
        return policy.cast_to_output(output)

    return call


def _cast(tree: Any, cast: Callable[[Any], Any]) -> Any:
    """Return a copy of `tree` with the parameters of its modules, and its other arrays, cast."""
    return pax_tree.tree_map(
        lambda leaf: _cast_module(leaf, cast) if is_module(leaf) else cast(leaf),
        tree,
        is_leaf=is_module,
    )


def _cast_module(module: Any, cast: Callable[[Any], Any]) -> Any:
    children, spec = record_flatten(module)
    kinds = zip(spec.kinds, children, strict=True)
    return record_unflatten(
        spec, [copy_tree(child) if kind == STATE else _cast(child, cast) for kind, child in kinds]
    )


def _in_own_dtype(policy: Any, own: Any, before: Any, after: Any) -> Any:
    """Return `after` in the dtypes of `own`, with the module's own arrays where none changed."""
    if pax_tree.tree_structure(after) != pax_tree.tree_structure(own):
        return _cast(after, policy.cast_to_param)
    return jax.tree.map(
        lambda o, x, y: o if x is y else _like(y, o) if is_array(o) else policy.cast_to_param(y),
        own,
        before,
        after,
    )


def _like(value: Any, own: Any) -> Any:
    floating = jnp.issubdtype(own.dtype, jnp.floating)
    return value.astype(own.dtype) if floating and is_array(value) else value


def _title(self: Any) -> str:
    policy = self.mp_policy
    dtypes = (policy.param_dtype, policy.compute_dtype, policy.output_dtype)
    names = [jax.numpy.dtype(dtype).name for dtype in dtypes]
    letters = "".join(_LETTERS.get(name, f"[{name}]") for name in names)
    name, arguments = split(_plain(type(self))._title.fget(self))
    return f"{name}({', '.join(filter(None, [arguments, f'mp_policy={letters}']))})"


_HALF = (nn.Linear, ConvND)
_FULL = (Norm, nn.RMSNorm)


def default_mp_policy(module: M) -> M:
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
        >>> print(net.apply(pax.experimental.default_mp_policy).summary(arrays=False))
        Sequential
        ├── modules[0]: Linear(in_dim=3, out_dim=3, with_bias=True, mp_policy=FHF)
        └── modules[1]: Dropout(dropout_rate=0.5)
    """
    jmp = extra("jmp", "default_mp_policy")
    half, full = jmp.half_dtype(), jnp.float32
    for classes, compute in ((_HALF, half), (_FULL, full)):
        if isinstance(module, classes):
            policy = jmp.Policy(param_dtype=full, compute_dtype=compute, output_dtype=full)
            return apply_mp_policy(module, policy)
    return module


def apply_scaled_gradients(
    model: M, optimizer: Any, loss_scale: Any, grads: Any
) -> tuple[M, Any, Any]:
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
