"""torch2jax_bridge beside JAX's callbacks; eager PyTorch and jitted JAX are the limits.

Every program computes `torch_add`, a function that knows nothing of where its result goes. PyTorch
has one thread: more of them, waiting for work, would take the cores from XLA's.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import torch
from jax.experimental.buffer_callback import buffer_callback

from benchmarks.case import Case, Program
from benchmarks.threads import one_torch_thread
from torch2jax_bridge import torch2jax

Pair = tuple[jax.Array, jax.Array]


def cases(device: str) -> Iterator[Case]:
    """`a + b` of two vectors, small ones for the cost of a call and large ones for that of copies."""
    jax_device = jax.devices(device)[0]
    with one_torch_thread():
        for size, numel in (("1e3", 1_000), ("1e6", 1_000_000)):
            a = jax.device_put(jnp.arange(numel, dtype=jnp.float32), jax_device)
            yield from additions(size, (a, jnp.flip(a)))


def additions(size: str, pair: Pair) -> Iterator[Case]:
    yield addition(f"add-{size}", pair, ("eager torch", eager(pair)))
    yield addition(f"add-{size}-jax", pair, ("jitted JAX", partial(jax.jit(jnp.add), *pair)))
    if size == "1e3":
        yield addition(f"add-{size}-both", pair, ("XLA call + eager torch", both(pair)))


def addition(case: str, pair: Pair, limit: tuple[str, Program]) -> Case:
    return Case(
        suite="bridge",
        case=case,
        ours=partial(jax.jit(torch2jax(torch_add)), *pair),
        peers={
            "buffer_callback": partial(jax.jit(by_buffer_callback), *pair),
            "pure_callback": partial(jax.jit(by_pure_callback), *pair),
        },
        limit=limit,
        finish=wait,
        agree=same_sum,
    )


def torch_add(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a + b


def by_buffer_callback(a: jax.Array, b: jax.Array) -> jax.Array:
    def add(context: Any, out: Any, *arguments: Any) -> None:
        result = torch_add(*map(torch.from_dlpack, arguments))
        torch.from_dlpack(out).copy_(result)

    return buffer_callback(add, jax.ShapeDtypeStruct(a.shape, a.dtype))(a, b)


def by_pure_callback(a: jax.Array, b: jax.Array) -> jax.Array:
    def add(*arguments: Any) -> Any:
        return torch_add(*map(torch.from_dlpack, arguments)).numpy(force=True)

    return jax.pure_callback(add, jax.ShapeDtypeStruct(a.shape, a.dtype), a, b)


def eager(pair: Pair) -> Program:
    return partial(torch_add, *(torch.from_dlpack(x) for x in pair))


def both(pair: Pair) -> Program:
    """An XLA program with next to nothing to do, and the addition in PyTorch after it."""
    in_xla, in_torch = partial(jax.jit(jnp.add), *(x[:1] for x in pair)), eager(pair)

    def program() -> torch.Tensor:
        in_xla().block_until_ready()
        return in_torch()

    return program


def wait(result: Any) -> None:
    if isinstance(result, jax.Array):
        result.block_until_ready()


def same_sum(ours: jax.Array, theirs: Any) -> bool:
    return bool((jnp.asarray(theirs) == ours).all())
