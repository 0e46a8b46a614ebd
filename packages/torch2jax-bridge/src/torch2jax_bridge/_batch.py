"""`jax.vmap` of a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from torch2jax_bridge._specs import Aval, Function, Spec, Vmap, with_root

Call = Callable[..., list[jax.Array]]


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
