"""The one JAX primitive, `torch_call_p`, and its rules."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from torch2jax_bridge._dtypes import is_differentiable
from torch2jax_bridge._engine import compile_spec
from torch2jax_bridge._runtime import TARGET, keep, register
from torch2jax_bridge._specs import (
    Aval,
    Function,
    Indices,
    Jvp,
    Linear,
    Spec,
    Vmap,
    differentiable_outs,
)

PLATFORMS = ("cpu", "cuda")

torch_call_p = Primitive("torch_call")
torch_call_p.multiple_results = True


def torch_call(spec: Spec, *args: jax.Array) -> list[jax.Array]:
    """Bind the primitive: flat arrays in, flat arrays out."""
    return torch_call_p.bind(*args, spec=spec)


def compiled(spec: Spec) -> Callable[..., list[jax.Array]]:
    """The call as a jitted function, kept by the wrapped function that it derives from."""
    programs = spec.root.programs
    if spec not in programs:
        programs[spec] = jax.jit(partial(torch_call, spec), inline=True)
    return programs[spec]


def _evaluate(*args: Any, spec: Spec) -> list[Any]:
    with jax.disable_jit(False):
        return compiled(spec)(*args)


def _abstract(*args: Any, spec: Spec) -> list[Any]:
    return [jax.core.ShapedArray(out.shape, out.dtype) for out in spec.outs]


def _lower(ctx: mlir.LoweringRuleContext, *args: Any, spec: Spec) -> Sequence[Any]:
    for platform in ctx.module_context.platforms:
        register(platform)
    handle = keep(compile_spec(spec))
    ctx.module_context.add_keepalive(handle)
    return jax.ffi.ffi_lowering(TARGET)(ctx, *args, handle=handle.id)


def _is_zero(value: Any) -> bool:
    return isinstance(value, ad.Zero)


def _no_tangent(out: Aval) -> ad.Zero:
    return ad.Zero(jax.core.ShapedArray(out.shape, out.dtype).to_tangent_aval())


def _nonzero(values: Sequence[Any]) -> Indices:
    return tuple(i for i, value in enumerate(values) if not _is_zero(value))


def _moving(args: Sequence[Any], tangents: Sequence[Any]) -> Indices:
    return tuple(i for i in _nonzero(tangents) if is_differentiable(args[i].dtype))


def push_forward(
    spec: Spec, primals: Sequence[Any], wrt: Indices, tangents: Sequence[Any]
) -> list[Any]:
    """Tangents of all results for the tangents of the `wrt` arguments."""
    fixed = len(spec.ins) - spec.linear
    if not isinstance(spec, Function) and all(i >= fixed for i in wrt):
        derived = spec.restrict(tuple(i - fixed for i in wrt))
        return torch_call(derived, *primals[:fixed], *tangents)
    of = differentiable_outs(spec)
    outs: list[Any] = [_no_tangent(out) for out in spec.outs]
    if of:
        moved = torch_call(Jvp(spec, wrt, of), *primals, *tangents)
        for i, tangent in zip(of, moved, strict=True):
            outs[i] = tangent
    return outs


def _jvp(primals: Any, tangents: Any, *, spec: Spec) -> tuple[list[Any], list[Any]]:
    outs = torch_call(spec, *primals)
    wrt = _moving(primals, tangents)
    if not wrt:
        return outs, [_no_tangent(out) for out in spec.outs]
    return outs, push_forward(spec, primals, wrt, [tangents[i] for i in wrt])


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


def _batch(args: Sequence[Any], dims: Sequence[Any], *, spec: Spec) -> tuple[list[Any], list[int]]:
    batched = tuple(dim is not None for dim in dims)
    front = [
        jnp.moveaxis(arg, dim, 0) if is_batched else arg
        for arg, dim, is_batched in zip(args, dims, batched, strict=True)
    ]
    size = next(arg.shape[0] for arg, is_batched in zip(front, batched, strict=True) if is_batched)
    outs = torch_call(Vmap(spec, batched, size), *front)
    return outs, [0] * len(outs)


torch_call_p.def_impl(_evaluate)
torch_call_p.def_abstract_eval(_abstract)
ad.primitive_jvps[torch_call_p] = _jvp
ad.primitive_transposes[torch_call_p] = _transpose
batching.primitive_batchers[torch_call_p] = _batch
for _platform in PLATFORMS:
    mlir.register_lowering(torch_call_p, _lower, platform=_platform)
