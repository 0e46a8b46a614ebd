"""The one JAX primitive, `torch_call_p`, and its rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, get_args

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from torch2jax_bridge._avals import TOKEN, Aval, Indices, is_differentiable
from torch2jax_bridge._compat import (
    as_primitive,
    aval_like,
    drop_last_result,
    hold_weakly,
    keep_in_loops,
    manual_axes,
    random_effect,
    set_linearize_rule,
    varying_axes,
)
from torch2jax_bridge._torch2jax.derived import (
    Jvp,
    Linear,
    SaveResiduals,
    Spec,
    UseResiduals,
    Vmap,
    differentiable_outs,
    draws,
    is_forward,
    with_root,
)
from torch2jax_bridge._torch2jax.function import Function
from torch2jax_bridge._torch2jax.lowering import lower
from torch2jax_bridge._torch2jax.residuals import ResidualSlot

PLATFORMS = ("cpu", "cuda")
torch_call_p = Primitive("torch_call")
torch_call_p.multiple_results = True


def torch_call(spec: Spec, *args: jax.Array) -> list[jax.Array]:
    """Bind the primitive: flat arrays in, flat arrays out."""
    everywhere = manual_axes() if draws(spec) else frozenset[Any]()
    return torch_call_p.bind(*_equally_varying(args, everywhere), spec=spec)


def _equally_varying(args: Sequence[jax.Array], also: frozenset[Any]) -> Sequence[jax.Array]:
    """In `jax.shard_map`, all arguments as varying over every mesh axis over which one varies.

    Args:
        args: the arguments.
        also: further axes: each device draws random numbers of its own.
    """
    axes = [varying_axes(arg) for arg in args]
    union = also.union(*axes)
    return [
        jax.lax.pcast(arg, tuple(union - own), to="varying") if union - own else arg
        for arg, own in zip(args, axes, strict=True)
    ]


def jitted_call(spec: Spec) -> Callable[..., list[jax.Array]]:
    """Return the call as a jitted function, made once while the function's `JittedCalls` live."""
    jitted = spec.root.jitted()
    found = None if jitted is None else jitted.get(spec)
    if found is None:
        found = jax.jit(as_primitive(partial(torch_call, spec), str(spec.root)), inline=True)
        if jitted is not None:
            jitted[spec] = found
    return found


def _evaluate(*args: Any, spec: Spec) -> list[Any]:
    with jax.disable_jit(False):
        return jitted_call(spec)(*args)


def _abstract(*args: Any, spec: Spec) -> tuple[list[Any], set[Any]]:
    effects = {random_effect()} if draws(spec) else set[Any]()
    return [aval_like(args, out.shape, out.dtype) for out in spec.outs], effects


def _moving(spec: Spec, has_tangent: Sequence[bool]) -> tuple[Indices, Indices]:
    """Return which arguments move, and which results move with them."""
    wrt = tuple(
        i for i, on in enumerate(has_tangent) if on and is_differentiable(spec.ins[i].dtype)
    )
    return wrt, differentiable_outs(spec) if wrt else ()


def _push_forward(
    spec: Spec, wrt: Indices, of: Indices, primals: Sequence[Any], tangents: Sequence[Any]
) -> Sequence[Any]:
    """Return the tangents of the `of` results for those of the `wrt` arguments."""
    if not of:
        return ()
    fixed = len(spec.ins) - spec.linear
    if not isinstance(spec, Function | SaveResiduals) and all(i >= fixed for i in wrt):
        derived = spec.restrict(tuple(i - fixed for i in wrt))
        return torch_call(derived, *primals[:fixed], *tangents)
    return torch_call(Jvp(spec, wrt, of), *primals, *tangents)


def _spread(spec: Spec, of: Indices, tangents: Sequence[Any]) -> list[Any]:
    """Return the tangents of the `of` results among those of all results, the others being zero."""
    moved = dict(zip(of, tangents, strict=True))
    return [
        moved[i] if i in moved else ad.Zero(ShapedArray(out.shape, out.dtype).to_tangent_aval())
        for i, out in enumerate(spec.outs)
    ]


def _without_token(spec: Spec, args: Sequence[Any]) -> tuple[Spec, list[Any]]:
    """Return a call that leaves or uses residuals as one that does not, for rules that change it."""
    if isinstance(spec, SaveResiduals):
        return spec.inner, list(args)
    if isinstance(spec, UseResiduals):
        return spec.inner, [*args[: spec.token], *args[spec.token + 1 :]]
    return spec, list(args)


def _with_token(spec: Spec, outs: Sequence[Any]) -> list[Any]:
    """Return the results with a token of no run, if there is to be one."""
    is_saving = isinstance(spec, SaveResiduals)
    return [*outs, jnp.zeros(TOKEN.shape, TOKEN.dtype)] if is_saving else list(outs)


def _jvp(primals: Any, tangents: Any, *, spec: Spec) -> tuple[list[Any], list[Any]]:
    plain, args = _without_token(spec, primals)
    _, given = _without_token(spec, tangents)
    wrt, of = _moving(plain, [not isinstance(tangent, ad.Zero) for tangent in given])
    moved = _push_forward(plain, wrt, of, args, [given[i] for i in wrt])
    return _with_token(spec, torch_call(plain, *args)), _spread(spec, of, moved)


def _linearize(is_vjp: bool, nonzeros: Sequence[bool], *primals: Any, spec: Spec) -> tuple:
    """Return what `jax.grad` and `jax.vjp` need: the forward pass leaves its graph to the backward.

    Returns:
        The results, which of them move, the residuals, and the function of residuals and tangents
        that gives the results' tangents.
    """
    plain, args = _without_token(spec, primals)
    wrt, of = _moving(plain, _without_token(spec, nonzeros)[1])
    if is_vjp and of and is_forward(plain):
        slot = ResidualSlot(copies=bool(plain.root.random))
        *outs, token = torch_call(SaveResiduals(plain, wrt, slot), *args)
        residuals = [*args, token]
        push = partial(_call_with, UseResiduals(Jvp(plain, wrt, of), slot))
    else:
        outs, residuals = torch_call(plain, *args), args
        push = partial(_push_forward, plain, wrt, of)

    def linear(residuals: Sequence[Any], *tangents: Any) -> list[Any]:
        _, given = _without_token(spec, tangents)
        return _spread(spec, of, push(residuals, [given[i] for i in wrt]))

    return _with_token(spec, outs), [i in of for i in range(len(spec.outs))], residuals, linear


def _call_with(spec: Spec, residuals: Sequence[Any], tangents: Sequence[Any]) -> Sequence[Any]:
    return torch_call(spec, *residuals, *tangents)


def _transpose(cotangents: Sequence[Any], *args: Any, spec: Linear | Function) -> list[Any]:
    if isinstance(spec, Function):
        raise NotImplementedError(
            f"jax.linear_transpose was given the PyTorch function {spec}, which nobody knows to be "
            "linear: transpose its derivative, jax.vjp(f, x)[1]."
        )
    fixed = len(args) - spec.linear
    wanted = tuple(i for i, arg in enumerate(args) if ad.is_undefined_primal(arg))
    given = tuple(i for i, ct in enumerate(cotangents) if not isinstance(ct, ad.Zero))
    results: list[Any] = [None] * len(args)
    if not given:
        return results
    derived = spec.transpose(tuple(i - fixed for i in wanted), given)
    outs = torch_call(derived, *args[:fixed], *(cotangents[i] for i in given))
    for i, out in zip(wanted, outs, strict=True):
        extra = out.ndim - len(spec.ins[i].shape)
        results[i] = out.sum(axis=tuple(range(extra))) if extra else out
    return results


def _batch(
    axis: Any, args: Sequence[Any], dims: Sequence[Any], *, spec: Spec
) -> tuple[list[Any], list[Any]]:
    if all(dim is None for dim in dims) and not draws(spec):
        return (outs := torch_call(spec, *args)), [None] * len(outs)
    plain, args = _without_token(spec, args)
    _, dims = _without_token(spec, dims)
    outs = _with_token(spec, _batched_call(plain, args, dims, axis.size))
    return outs, [0 if i < len(plain.outs) else None for i in range(len(outs))]


def _batched_call(
    spec: Spec, args: Sequence[Any], dims: Sequence[int | None], size: int
) -> list[jax.Array]:
    """Call a function for every element of a batch, in the way that its options say.

    Args:
        spec: the function for one element.
        args: its arguments.
        dims: the axis of the batch in each, None where there is none; a function that draws random
            numbers is called for every element all the same.
        size: the number of elements.

    Returns:
        The results, with the batch in front.
    """
    batched = tuple(dim is not None for dim in dims)
    front = [
        x if dim is None else jnp.moveaxis(x, dim, 0) for x, dim in zip(args, dims, strict=True)
    ]
    options = spec.root.options
    if options.keyed and batched[0]:  # PyTorch has no generator for each element
        return _sequential(spec, front, batched, size, unroll=False)
    if options.vmap_method is None and _draws_for_each(spec):  # NumPy and Python have none either
        return _sequential(spec, front, batched, size, unroll=False)
    if options.vmap_method is None:
        return torch_call(Vmap(spec, batched, size), *front)
    if options.vmap_method.startswith("sequential"):
        unroll = options.vmap_method == "sequential_unrolled"
        return _sequential(spec, front, batched, size, unroll)
    return _widened(spec, front, batched, size)


def _draws_for_each(spec: Spec) -> bool:
    """Whether each element of a batch is to have random numbers of NumPy's or Python's of its own.

    Raises:
        ValueError: it is not said whether they are the same for all.
    """
    root = spec.root
    if not root.host_random or not draws(spec):
        return False
    if root.options.randomness == "error":
        raise ValueError(
            f"{root} draws random numbers from NumPy's or Python's generators, under jax.vmap: say "
            "with randomness= whether the elements get 'different' ones or the 'same'."
        )
    return root.options.randomness == "different"


def _sequential(
    spec: Spec, args: Sequence[Any], batched: Sequence[bool], size: int, unroll: bool
) -> list[jax.Array]:
    def one(_: None, row: list[jax.Array]) -> tuple[None, list[jax.Array]]:
        rows = iter(row)
        pairs = zip(args, batched, strict=True)
        return None, torch_call(spec, *(next(rows) if on else x for x, on in pairs))

    rows = [x for x, on in zip(args, batched, strict=True) if on]
    return jax.lax.scan(one, None, rows, length=size, unroll=unroll)[1]


def _widened(
    spec: Spec, args: Sequence[Any], batched: Sequence[bool], size: int
) -> list[jax.Array]:
    """One call of the function itself, which is to take arguments with an axis more.

    Derivatives are those of the function of the whole batch, so they need every argument batched.
    """
    method = spec.root.options.vmap_method if isinstance(spec, Function) else "broadcast_all"
    if method != "legacy_vectorized":
        width = size if method == "broadcast_all" else 1
        pairs = zip(args, batched, strict=True)
        args = [x if on else jnp.broadcast_to(x, (width, *x.shape)) for x, on in pairs]
    root = spec.root
    ins = tuple(Aval(x.shape, a.dtype) for x, a in zip(args, root.ins, strict=False))
    outs = tuple(Aval((size, *out.shape), out.dtype) for out in root.outs)
    return torch_call(with_root(spec, root.reshaped(ins, outs)), *args)


torch_call_p.def_impl(_evaluate)
torch_call_p.def_effectful_abstract_eval(_abstract)
ad.primitive_jvps[torch_call_p] = _jvp
ad.primitive_transposes[torch_call_p] = _transpose
batching.fancy_primitive_batchers[torch_call_p] = _batch
keep_in_loops(torch_call_p, lambda spec: draws(spec) is not False)
set_linearize_rule(torch_call_p, _linearize)
hold_weakly(*get_args(Spec))
drop_last_result(torch_call_p, lambda spec: spec.inner if isinstance(spec, SaveResiduals) else None)
for _platform in PLATFORMS:
    mlir.register_lowering(torch_call_p, lower, platform=_platform)
