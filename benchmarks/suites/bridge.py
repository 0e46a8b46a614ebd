"""torch2jax_bridge beside other bridges; eager PyTorch and jitted JAX are the limits.

PyTorch has one thread: more of them, waiting for work, would take the cores from XLA's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import torch
from torch import nn

from benchmarks.allocator import freed_memory_kept
from benchmarks.bridge_peers import TorchFunction, nothing, peers, working
from benchmarks.case import Case, Program
from benchmarks.threads import one_torch_thread
from benchmarks.torch_models import mlp, resnet18, transformer_layer
from torch2jax_bridge import j2t, t2j, torch2jax

Arrays = tuple[jax.Array, ...]
SIZES = {"1e3": 10**3, "1e4": 10**4, "1e5": 10**5, "1e6": 10**6, "1e7": 10**7, "1e8": 10**8}
RATE = 0.01


def cases(device: str) -> Iterator[Case]:
    """Single operations of every size, chains, whole networks, batches."""
    where = jax.devices(device)[0]
    with one_torch_thread(), jax.default_device(where):
        for size, numel in SIZES.items():
            a = jnp.arange(numel, dtype=jnp.float32)
            yield from additions(size, (a, jnp.flip(a)))
        yield chain(device)
        yield batch(device)
        with freed_memory_kept():
            yield from networks(device)


def additions(size: str, pair: Arrays) -> Iterator[Case]:
    eager = partial(torch_add, *map(j2t, pair))
    yield addition(f"add-{size}", pair, ("eager torch", eager))
    yield addition(f"add-{size}-jax", pair, ("jitted JAX", partial(jax.jit(jnp.add), *pair)))
    if size == "1e3":
        yield addition(
            f"add-{size}-both", pair, ("empty XLA call + eager torch", both(pair, eager))
        )


def addition(case: str, pair: Arrays, limit: tuple[str, Program]) -> Case:
    ours = partial(jax.jit(torch2jax(torch_add)), *pair)
    others = {
        name: partial(jax.jit(peer(torch_add, pair[0])), *pair) for name, peer in peers().items()
    }
    return compared(case, ours, others, limit)


def compared(case: str, ours: Program, others: dict[str, Program], limit: Any) -> Case:
    return Case(
        suite="bridge",
        case=case,
        ours=ours,
        peers=working(others),
        limit=limit,
        finish=jax.block_until_ready,
        agree=close,
    )


def torch_add(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a + b


def both(pair: Arrays, eager: Program) -> Program:
    """An XLA program with a call of the same arguments that does nothing, and PyTorch after it."""
    in_xla = partial(jax.jit(nothing(pair[0])), *pair)

    def program() -> torch.Tensor:
        in_xla().block_until_ready()
        return eager()

    return program


def chain(device: str) -> Case:
    """Ten calls in one program, each with the result of the one before."""
    pair = (jnp.linspace(0.0, 1.0, 1000), jnp.linspace(1.0, 2.0, 1000))

    def ten(call: Callable[..., Any]) -> Callable[..., Any]:
        def program(a: Any, b: Any) -> Any:
            for _ in range(10):
                a = call(a, b)
            return a

        return program

    others = {
        name: partial(jax.jit(ten(peer(torch_add, pair[0]))), *pair)
        for name, peer in peers().items()
    }
    ours = partial(jax.jit(ten(torch2jax(torch_add))), *pair)
    eager = partial(ten(torch_add), *map(j2t, pair))
    return compared("chain-10", ours, others, ("eager torch", eager))


def batch(device: str) -> Case:
    """A network for one example, on 64 examples at once and on one after the other."""
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Linear(64, 64), nn.Tanh()) * 2, nn.Linear(64, 64)).to(device)

    def function(x: torch.Tensor) -> torch.Tensor:
        return (net(x) ** 2).mean()

    x = jnp.linspace(-1.0, 1.0, 64 * 64).reshape(64, 64)
    ours = partial(jax.jit(jax.vmap(torch2jax(function))), x)
    sequential = partial(jax.jit(jax.vmap(torch2jax(function, vmap_method="sequential"))), x)
    return compared("vmap-64", ours, {}, ("sequential", sequential))


def networks(device: str) -> Iterator[Case]:
    torch.manual_seed(0)
    images = jnp.linspace(-1.0, 1.0, 16 * 3 * 96 * 96).reshape(16, 3, 96, 96)
    tokens = jnp.sin(jnp.arange(8.0 * 64 * 256)).reshape(8, 64, 256)
    yield forward("mlp-forward", mlp().to(device), jnp.sin(jnp.arange(64.0 * 784)).reshape(64, 784))
    yield forward("resnet18-forward", resnet18().to(device), images)
    yield training("resnet18-step", resnet18().to(device), images)
    yield forward("transformer-forward", transformer_layer().to(device), tokens)
    yield training("transformer-step", transformer_layer().to(device), tokens)


def forward(case: str, module: nn.Module, x: jax.Array) -> Case:
    module.eval()
    apply, params, buffers = torch2jax(module)

    @jax.jit
    def program(params: Any, buffers: Any, x: jax.Array) -> jax.Array:
        return apply(params, x, buffers=buffers, is_training=False)[0]

    tensor = j2t(x)

    def eager() -> torch.Tensor:
        with torch.no_grad():
            return module(tensor)

    others = {
        name: partial(jax.jit(peer(without_gradients(module), t2j(eager()))), x)
        for name, peer in peers().items()
        if name == "buffer_callback"
    }
    return compared(case, partial(program, params, buffers, x), others, ("eager torch", eager))


def without_gradients(module: nn.Module) -> TorchFunction:
    def call(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return module(x)

    return call


def training(case: str, module: nn.Module, x: jax.Array) -> Case:
    """One step of gradient descent on the mean square of the module's output."""
    apply, params, buffers = torch2jax(module)
    state = [params, buffers]

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, buffers: Any, x: jax.Array) -> Any:
        def loss(params: Any) -> Any:
            out, new = apply(params, x, buffers=buffers)
            return (out**2).mean(), new

        (value, new), grads = jax.value_and_grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - RATE * g, params, grads), new, value

    def ours() -> jax.Array:
        state[0], state[1], value = step(*state, x)
        return value

    return compared(case, ours, {}, ("eager torch", in_torch(module, j2t(x))))


def in_torch(module: nn.Module, x: torch.Tensor) -> Program:
    optimizer = torch.optim.SGD(module.parameters(), RATE)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (module(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def close(ours: jax.Array, theirs: Any) -> bool:
    theirs = jnp.asarray(theirs.cpu()) if isinstance(theirs, torch.Tensor) else theirs
    return bool(jnp.allclose(jax.device_get(ours), jax.device_get(theirs), rtol=1e-3, atol=1e-4))
