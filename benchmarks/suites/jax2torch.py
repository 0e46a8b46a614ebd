"""jax2torch beside a hand-written `torch.autograd.Function`; native PyTorch and jitted JAX are the limits.

The peer is the usual recipe: DLPack both ways, `jax.vjp` of a jitted function in the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import torch

from benchmarks.case import Case, Program
from benchmarks.threads import one_torch_thread
from torch2jax_bridge import JaxModule, jax2torch

WIDTH = 256
LAYERS = 3


def cases(device: str) -> Iterator[Case]:
    """Calls and steps of a cheap function, for the overhead, and steps of a network."""
    with one_torch_thread():
        for size, numel in (("1e3", 1_000), ("1e6", 1_000_000)):
            x = torch.linspace(0.0, 1.0, numel, device=device)
            yield from calls(size, x)
            yield from steps(size, x)
        yield from networks(device)


def calls(size: str, x: torch.Tensor) -> Iterator[Case]:
    peers = {"DLPack and jit": partial(by_dlpack, jax.jit(waves), x)}
    array = jnp.from_dlpack(x)
    yield case(
        f"call-{size}",
        partial(jax2torch(waves), x),
        peers,
        ("eager torch", partial(torch_waves, x)),
    )
    yield case(
        f"call-{size}-jax",
        partial(jax2torch(waves), x),
        {},
        ("jitted JAX", partial(jax.jit(waves), array)),
    )
    yield case(
        f"call-{size}-both", partial(jax2torch(waves), x), {}, ("jitted JAX + eager torch", both(x))
    )


def steps(size: str, x: torch.Tensor) -> Iterator[Case]:
    peers = {"autograd.Function": step(by_vjp(waves), x)}
    limit = ("eager torch", step(torch_waves, x))
    yield case(f"step-{size}", step(jax2torch(waves), x), peers, limit)
    native = jax.jit(jax.grad(lambda x: waves(x).sum()))
    limit = ("jitted JAX", partial(native, jnp.from_dlpack(x)))
    yield case(f"step-{size}-jax", step(jax2torch(waves), x), {}, limit)


def networks(device: str) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(WIDTH, WIDTH, generator=generator) / WIDTH**0.5 for _ in range(LAYERS)]
    weights = [weight.to(device) for weight in weights]
    x = torch.randn(WIDTH, WIDTH, generator=generator).to(device)
    arrays = [jnp.from_dlpack(weight) for weight in weights]
    module = JaxModule(network, arrays).to(device)
    params = [weight.clone().requires_grad_() for weight in weights]
    native = jax.jit(jax.grad(lambda weights, x: network(weights, x).sum()))
    yield case(
        "network-step",
        partial(network_step, module, list(module.parameters()), x),
        {},
        ("eager torch", partial(network_step, partial(torch_network, params), params, x)),
    )
    yield case(
        "network-step-jax",
        partial(network_step, module, list(module.parameters()), x),
        {},
        ("jitted JAX", partial(native, arrays, jnp.from_dlpack(x))),
    )


def case(name: str, ours: Program, peers: dict[str, Program], limit: tuple[str, Program]) -> Case:
    return Case(
        suite="jax2torch",
        case=name,
        ours=ours,
        peers=peers,
        limit=limit,
        finish=jax.block_until_ready,
        agree=agree,
    )


def waves(x: Any) -> jax.Array:
    return jnp.sin(x) * x + x


def torch_waves(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(x) * x + x


def network(weights: Any, x: Any) -> jax.Array:
    for weight in weights:
        x = jnp.tanh(x @ weight)
    return x


def torch_network(weights: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    for weight in weights:
        x = torch.tanh(x @ weight)
    return x


def by_dlpack(jitted: Callable[..., jax.Array], x: torch.Tensor) -> torch.Tensor:
    return torch.from_dlpack(jitted(jnp.from_dlpack(x)))


def by_vjp(fn: Callable[..., jax.Array]) -> Callable[[torch.Tensor], torch.Tensor]:
    jitted = jax.jit(fn)

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            out, ctx.pull = jax.vjp(jitted, jnp.from_dlpack(x.detach()))
            return torch.from_dlpack(out)

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
            return torch.from_dlpack(ctx.pull(jnp.from_dlpack(grads[0].contiguous()))[0])

    return Function.apply


def both(x: torch.Tensor) -> Program:
    """The function in JAX and then in PyTorch."""
    jitted, array = jax.jit(waves), jnp.from_dlpack(x)

    def program() -> torch.Tensor:
        jitted(array).block_until_ready()
        return torch_waves(x)

    return program


def step(fn: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> Program:
    """The gradient of the function's sum."""
    leaf = x.clone().requires_grad_()
    return lambda: torch.autograd.grad(fn(leaf).sum(), leaf)[0]


def network_step(fn: Any, params: list[torch.Tensor], x: torch.Tensor) -> Any:
    return torch.autograd.grad(fn(x).sum(), params)


def agree(ours: Any, theirs: Any) -> bool:
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return all(jnp.allclose(as_array(a), as_array(b), rtol=1e-3, atol=1e-3) for a, b in pairs)


def as_array(value: Any) -> jax.Array:
    return jnp.from_dlpack(value.detach()) if isinstance(value, torch.Tensor) else value
