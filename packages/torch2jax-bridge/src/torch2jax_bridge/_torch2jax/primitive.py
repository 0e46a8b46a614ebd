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

from torch2jax_bridge._avals import TOKEN, Aval, is_differentiable
from torch2jax_bridge._private import (
    aval_like,
    hold_weakly,
    is_export,
    set_linearize_rule,
    varying_axes,
)
from torch2jax_bridge._runtime.registration import RECORDED_TARGET, TARGET, register
from torch2jax_bridge._torch2jax.derived import (
    Indices,
    Jvp,
    Keep,
    Kept,
    Linear,
    Spec,
    Vmap,
    differentiable_outs,
    with_root,
)
from torch2jax_bridge._torch2jax.function import Function
from torch2jax_bridge._torch2jax.lowering import make_handle, may_be_recorded, output_aliases
from torch2jax_bridge._torch2jax.residuals import Site

Call = Callable[..., list[jax.Array]]
PLATFORMS = ("cpu", "cuda")
torch_call_p = Primitive("torch_call")
torch_call_p.multiple_results = True


def torch_call(spec: Spec, *args: jax.Array) -> list[jax.Array]:
    """Bind the primitive: flat arrays in, flat arrays out."""
    return torch_call_p.bind(*_equally_varying(args), spec=spec)


def _equally_varying(args: Sequence[jax.Array]) -> Sequence[jax.Array]:
    """In `jax.shard_map`, all arguments as varying over every mesh axis over which one varies."""
    axes = [varying_axes(arg) for arg in args]
    union = frozenset[Any]().union(*axes)
    return [
        jax.lax.pcast(arg, tuple(union - own), to="varying") if union - own else arg
        for arg, own in zip(args, axes, strict=True)
    ]


def compiled(spec: Spec) -> Callable[..., list[jax.Array]]:
    """Return the call as a jitted function, made once while the function's `Programs` live."""
    programs = spec.root.programs()
    found = None if programs is None else programs.get(spec)
    if found is None:
        found = jax.jit(partial(torch_call, spec), inline=True)
        if programs is not None:
            programs[spec] = found
    return found


def _evaluate(*args: Any, spec: Spec) -> list[Any]:
    with jax.disable_jit(False):
        return compiled(spec)(*args)


def _abstract(*args: Any, spec: Spec) -> list[Any]:
    return [aval_like(args, out.shape, out.dtype) for out in spec.outs]


def _lower(ctx: mlir.LoweringRuleContext, *args: Any, spec: Spec) -> Sequence[Any]:
    if is_export(ctx):
        raise NotImplementedError(
            f"jax.export cannot store a program that calls the PyTorch function {spec.root}: the "
            "function lives in this process only"
        )
    platforms = ctx.module_context.platforms
    for platform in platforms:
        register(platform)
    handle = make_handle(spec, platforms[0])
    ctx.module_context.add_keepalive(handle)
    recorded = tuple(platforms) == ("cuda",) and may_be_recorded(spec)
    rule = jax.ffi.ffi_lowering(
        RECORDED_TARGET if recorded else TARGET, operand_output_aliases=output_aliases(spec)
    )
    return rule(ctx, *args, handle=handle.id)


def _is_zero(value: Any) -> bool:
    return isinstance(value, ad.Zero)


def _no_tangent(out: Aval) -> ad.Zero:
    return ad.Zero(ShapedArray(out.shape, out.dtype).to_tangent_aval())


def _nonzero(values: Sequence[Any]) -> Indices:
    return tuple(i for i, value in enumerate(values) if not _is_zero(value))


def _moving(args: Sequence[Any], tangents: Sequence[Any]) -> Indices:
    return tuple(i for i in _nonzero(tangents) if is_differentiable(args[i].dtype))


def push_forward(
    spec: Spec, primals: Sequence[Any], wrt: Indices, tangents: Sequence[Any]
) -> Sequence[Any]:
    """Tangents of all results for the tangents of the `wrt` arguments."""
    fixed = len(spec.ins) - spec.linear
    if not isinstance(spec, Function | Keep) and all(i >= fixed for i in wrt):
        derived = spec.restrict(tuple(i - fixed for i in wrt))
        return torch_call(derived, *primals[:fixed], *tangents)
    of = differentiable_outs(spec)
    moved = torch_call(Jvp(spec, wrt, of), *primals, *tangents) if of else ()
    return _spread(spec, of, moved)


def _spread(spec: Spec, of: Indices, tangents: Sequence[Any]) -> list[Any]:
    """Return the tangents of the `of` results among those of all results, the others being zero."""
    outs: list[Any] = [_no_tangent(out) for out in spec.outs]
    for i, tangent in zip(of, tangents, strict=True):
        outs[i] = tangent
    return outs


def _without_token(spec: Spec, args: Sequence[Any]) -> tuple[Spec, list[Any]]:
    """Return a call that leaves or uses residuals as one that does not, for rules that change it."""
    if isinstance(spec, Keep):
        return spec.inner, list(args)
    if isinstance(spec, Kept):
        return spec.inner, [*args[: spec.token], *args[spec.token + 1 :]]
    return spec, list(args)


def _dummy_token(spec: Spec) -> list[jax.Array]:
    return [jnp.zeros(TOKEN.shape, TOKEN.dtype)] if isinstance(spec, Keep) else []


def _jvp(primals: Any, tangents: Any, *, spec: Spec) -> tuple[list[Any], list[Any]]:
    plain, args = _without_token(spec, primals)
    _, given = _without_token(spec, tangents)
    wrt = _moving(args, given)
    moved = _push(plain, wrt, args, [given[i] for i in wrt])
    token = _dummy_token(spec)
    return (
        [*torch_call(plain, *args), *token],
        [*moved, *(_no_tangent(TOKEN) for _ in token)],
    )


def _linearize(is_vjp: bool, nonzeros: Sequence[bool], *primals: Any, spec: Spec) -> tuple:
    """Return the rule for `jax.grad` and `jax.vjp`: the forward pass leaves its graph to the backward.

    Returns:
        The results, which of them move, the residuals, and the function of residuals and tangents
        that gives the results' tangents.
    """
    plain, args = _without_token(spec, primals)
    _, nonzero = _without_token(spec, nonzeros)
    wrt = tuple(i for i, on in enumerate(nonzero) if on and is_differentiable(args[i].dtype))
    of = differentiable_outs(plain) if wrt else ()
    if is_vjp and of and isinstance(plain, Function):
        outs, residuals, push = _linearize_kept(plain, args, wrt, of)
    else:
        outs, residuals, push = torch_call(plain, *args), args, partial(_push, plain, wrt)
    token = _dummy_token(spec)

    def linear(residuals: Sequence[Any], *tangents: Any) -> list[Any]:
        _, given = _without_token(spec, tangents)
        moved = push(residuals, [given[i] for i in wrt])
        return [*moved, *(_no_tangent(TOKEN) for _ in token)]

    moves = [i in of for i in range(len(plain.outs))] + [False] * len(token)
    return [*outs, *token], moves, residuals, linear


def _linearize_kept(spec: Function, args: list[Any], wrt: Indices, of: Indices) -> tuple:
    site = Site()
    *outs, token = torch_call(Keep(spec, wrt, site), *args)
    kept = Kept(Jvp(spec, wrt, of), site)

    def push(residuals: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
        return _spread(spec, of, torch_call(kept, *residuals, *tangents))

    return outs, [*args, token], push


def _push(
    spec: Spec, wrt: Indices, primals: Sequence[Any], tangents: Sequence[Any]
) -> Sequence[Any]:
    return push_forward(spec, primals, wrt, tangents) if wrt else _spread(spec, (), ())


def _transpose(cotangents: Sequence[Any], *args: Any, spec: Linear) -> list[Any]:
    fixed = len(args) - spec.linear
    wanted = tuple(i for i, arg in enumerate(args) if ad.is_undefined_primal(arg))
    given = _nonzero(cotangents)
    results: list[Any] = [None] * len(args)
    if not given:
        return results
    derived = spec.transpose(tuple(i - fixed for i in wanted), given)
    outs = torch_call(derived, *args[:fixed], *(cotangents[i] for i in given))
    for i, out in zip(wanted, outs, strict=True):
        extra = out.ndim - len(spec.ins[i].shape)
        results[i] = out.sum(axis=tuple(range(extra))) if extra else out
    return results


def _batch(args: Sequence[Any], dims: Sequence[Any], *, spec: Spec) -> tuple[list[Any], list[Any]]:
    plain, args = _without_token(spec, args)
    _, dims = _without_token(spec, dims)
    outs = batched_call(torch_call, plain, args, dims)
    token = _dummy_token(spec)
    return [*outs, *token], [0] * len(outs) + [None] * len(token)


torch_call_p.def_impl(_evaluate)
torch_call_p.def_abstract_eval(_abstract)
ad.primitive_jvps[torch_call_p] = _jvp
ad.primitive_transposes[torch_call_p] = _transpose
batching.primitive_batchers[torch_call_p] = _batch
set_linearize_rule(torch_call_p, _linearize)
hold_weakly(*get_args(Spec))
for _platform in PLATFORMS:
    mlir.register_lowering(torch_call_p, _lower, platform=_platform)


def batched_call(
    call: Call, spec: Spec, args: Sequence[Any], dims: Sequence[int | None]
) -> list[jax.Array]:
    """Call a function for every element of a batch, in the way that its options say.

    Args:
        call: calls a `Spec`.
        spec: the function for one element.
        args: its arguments.
        dims: the axis of the batch in each, None where there is none.

    Returns:
        The results, with the batch in front.
    """
    batched = tuple(dim is not None for dim in dims)
    front = [
        x if dim is None else jnp.moveaxis(x, dim, 0) for x, dim in zip(args, dims, strict=True)
    ]
    size = next(x.shape[0] for x, on in zip(front, batched, strict=True) if on)
    options = spec.root.options
    if options.keyed and batched[0]:  # PyTorch has no generator for each element
        return _sequential(call, spec, front, batched, unroll=False)
    if options.vmap_method is None:
        return call(Vmap(spec, batched, size), *front)
    if options.vmap_method.startswith("sequential"):
        unroll = options.vmap_method == "sequential_unrolled"
        return _sequential(call, spec, front, batched, unroll)
    return _widened(call, spec, front, batched, size)


def _sequential(
    call: Call, spec: Spec, args: Sequence[Any], batched: Sequence[bool], unroll: bool
) -> list[jax.Array]:
    def one(_: None, row: list[jax.Array]) -> tuple[None, list[jax.Array]]:
        rows = iter(row)
        pairs = zip(args, batched, strict=True)
        return None, call(spec, *(next(rows) if on else x for x, on in pairs))

    rows = [x for x, on in zip(args, batched, strict=True) if on]
    return jax.lax.scan(one, None, rows, unroll=unroll)[1]


def _widened(
    call: Call, spec: Spec, args: Sequence[Any], batched: Sequence[bool], size: int
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
    return call(with_root(spec, root.reshaped(ins, outs)), *args)
