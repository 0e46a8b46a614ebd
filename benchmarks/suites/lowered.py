"""Functions of PyTorch as programs of XLA, beside eager PyTorch, called ones and torchax.

PyTorch has one thread: more of them, waiting for work, would take the cores from XLA's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import torch
from torch import nn

from benchmarks.bridge_peers import working
from benchmarks.case import Case, Program
from benchmarks.suites.bridge import close
from benchmarks.threads import one_torch_thread
from benchmarks.torch_models import (
    GPT2Block,
    Recurrent,
    mlp,
    resnet18,
    small_conv_net,
    transformer_layer,
)
from torch2jax_bridge import j2t, torch2jax

Apply = Callable[[Any, jax.Array], jax.Array]


class _Network(NamedTuple):
    """A network that is measured.

    Attributes:
        name: of the case.
        make: makes it.
        shape: of its argument.
    """

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]


NETWORKS = (
    _Network("transformer", transformer_layer, (8, 64, 256)),
    _Network("gpt2-block", GPT2Block, (4, 64, 256)),
    _Network("mlp", mlp, (64, 784)),
    _Network("conv", small_conv_net, (8, 3, 32, 32)),
    _Network("lstm", Recurrent, (8, 20, 64)),
    _Network("resnet18", resnet18, (4, 3, 64, 64)),
)


def cases(device: str) -> Iterator[Case]:
    """Each network forwards, and with the gradient of the mean square of its output."""
    with one_torch_thread(), jax.default_device(jax.devices(device)[0]):
        for network in NETWORKS:
            torch.manual_seed(0)
            module = network.make().to(device)
            x = jnp.sin(jnp.arange(float(torch.Size(network.shape).numel())))
            yield from measured(network.name, module, x.reshape(network.shape))


def measured(name: str, module: nn.Module, x: jax.Array) -> Iterator[Case]:
    makers = {"called": partial(by_bridge, backend="call"), "torchax": by_torchax}
    if find_spec("torchax") is None:
        del makers["torchax"]
    tensor = j2t(x)
    for what, wrap, eager in (
        ("forward", jax.jit, partial(forward_in_torch, module, tensor)),
        ("gradient", jitted_gradient, partial(gradient_in_torch, module, tensor)),
    ):
        ours = program(wrap, *by_bridge(module, "xla"), x)
        others = {key: program(wrap, *make(module), x) for key, make in makers.items()}
        yield Case(
            suite="lowered",
            case=f"{name}-{what}",
            ours=ours,
            peers=working(others),
            limit=("eager torch", eager),
            finish=jax.block_until_ready,
            agree=close if what == "forward" else None,
        )


def by_bridge(module: nn.Module, backend: str) -> tuple[Apply, Any]:
    apply, params, buffers = torch2jax(module, backend=backend)
    return lambda params, x: apply(params, x, buffers=buffers)[0], params


def by_torchax(module: nn.Module) -> tuple[Apply, Any]:
    from torchax import extract_jax

    states, function = extract_jax(module)
    names = dict(module.named_parameters())
    rest = {name: value for name, value in states.items() if name not in names}
    params = {name: value for name, value in states.items() if name in names}
    return lambda params, x: function({**rest, **params}, (x,)), params


def program(wrap: Callable[[Apply], Any], apply: Apply, params: Any, x: jax.Array) -> Program:
    return partial(wrap(apply), params, x)


def jitted_gradient(apply: Apply) -> Any:
    return jax.jit(jax.grad(lambda params, x: jnp.mean(apply(params, x) ** 2)))


def forward_in_torch(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return module(x)


def gradient_in_torch(module: nn.Module, x: torch.Tensor) -> Any:
    return torch.autograd.grad((module(x) ** 2).mean(), list(module.parameters()))
