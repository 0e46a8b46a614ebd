"""Steps of pax_torch's optimizers beside those of torch.optim: alone, as a population, and in memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

import pax_torch
from benchmarks.case import Case, Program
from benchmarks.memory import peak_megabytes
from benchmarks.suites.torch import Batch, Loss, cifar_net, mlp, resnet18
from benchmarks.threads import one_torch_thread

OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9}),
    "adam": (torch.optim.Adam, {"lr": 1e-3}),
}
POPULATION = 64
STEPS = 3


def cases(device: str) -> Iterator[Case]:
    """Steps alone, of many small and of few large parameters; 64 optimizers; peaks of training."""
    torch.manual_seed(0)
    with one_torch_thread():
        for name in OPTIMIZERS:
            for size, net in (("small", mlp()), ("large", resnet18())):
                for donate in (False, True):
                    yield step_alone(name, size, net.to(device), donate)
        for name in OPTIMIZERS:
            yield population(name, device)
        narrow = torch.randn(128, 8, device=device), torch.randn(128, 8, device=device)
        images = torch.randn(64, 3, 32, 32, device=device), torch.randint(10, (64,), device=device)
        few = images[0][:4], images[1][:4]
        for name in OPTIMIZERS:
            yield memory(f"{name}-memory-mlp", name, mlp, mse_loss, narrow)
            yield memory(f"{name}-memory-cifar", name, cifar_net, cross_entropy, images)
            yield memory(f"{name}-memory-resnet", name, resnet18, cross_entropy, few)


def step_alone(name: str, size: str, net: nn.Module, donate: bool) -> Case:
    return Case(
        suite="torch_optim",
        case=f"{name}-{size}-{'donated' if donate else 'pure'}",
        ours=pax_torch_step(name, net, donate),
        limit=("torch.optim", plain_step(name, net)),
        agree=torch.equal,
    )


def pax_torch_step(name: str, net: nn.Module, donate: bool) -> Program:
    optimizer = functional(name, donate)
    params, grads = pax_torch.get_params(net), pax_torch.get_params(net)
    state = optimizer.init(params)

    def step() -> Tensor:
        nonlocal params, state
        params, state = optimizer.step(params, grads, state)
        return next(iter(params.values()))

    return step


def plain_step(name: str, net: nn.Module) -> Program:
    net = copy.deepcopy(net)
    cls, options = OPTIMIZERS[name]
    optimizer = cls(net.parameters(), **options)
    for parameter in net.parameters():
        parameter.grad = parameter.detach().clone()

    def step() -> Tensor:
        optimizer.step()
        return next(net.parameters()).detach()

    return step


def functional(name: str, donate: bool = False) -> pax_torch.FunctionalOptimizer:
    cls, options = OPTIMIZERS[name]
    return pax_torch.functional_optimizer(cls, donate=donate, **options)


def population(name: str, device: str) -> Case:
    """64 optimizers with learning rates of their own, in one call or one after the other."""
    optimizer = functional(name)
    nets = [
        pax_torch.get_params(nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)))
        for _ in range(POPULATION)
    ]
    nets = pax_torch.tree_to(nets, device)
    rates = torch.linspace(1e-3, 1e-2, POPULATION, device=device)
    stacked = pax_torch.tree_map(lambda *x: torch.stack(x), *nets)

    def step(params: Any, state: Any, lr: Any) -> Any:
        return optimizer.step(params, params, state, lr=lr)

    together = pax_torch.vmap(step)
    first = pax_torch.vmap(optimizer.init)(stacked)
    _, state = together(stacked, first, rates)
    states = [step(net, optimizer.init(net), lr)[1] for net, lr in zip(nets, rates, strict=True)]
    numbers = rates.tolist()

    def one_by_one() -> list[Any]:
        return [step(*each) for each in zip(nets, states, numbers, strict=True)]

    return Case(
        suite="torch_optim",
        case=f"{name}-population",
        ours=partial(together, stacked, state, rates),
        peers={"loop of pax_torch": one_by_one},
        limit=("loop of torch.optim", torch_loop(name, nets, numbers)),
    )


def torch_loop(name: str, nets: list[Any], rates: list[float]) -> Program:
    cls, options = OPTIMIZERS[name]
    optimizers = []
    for net, lr in zip(nets, rates, strict=True):
        variables = [p.clone().requires_grad_() for p in net.values()]
        optimizers.append(cls(variables, **{**options, "lr": lr}))
        for variable in variables:
            variable.grad = variable.detach().clone()

    def steps() -> list[torch.optim.Optimizer]:
        for optimizer in optimizers:
            optimizer.step()
        return optimizers

    return steps


def memory(
    name: str, optimizer: str, net: Callable[[], nn.Module], loss: Loss, batch: Batch
) -> Case:
    return Case(
        suite="torch_optim",
        case=name,
        ours=partial(peak_megabytes, partial(train, optimizer, net, loss, batch)),
        limit=(
            "plain torch",
            partial(peak_megabytes, partial(train_plain, optimizer, net, loss, batch)),
        ),
        metric="peak memory",
        unit="MiB",
        self_measured=True,
    )


def train(name: str, make: Callable[[], nn.Module], loss: Loss, batch: Batch) -> None:
    net = make().to(batch[0].device)
    optimizer, forward = functional(name, donate=True), pax_torch.functional_module(net)
    params, buffers = pax_torch.get_params(net), pax_torch.get_buffers(net)
    del net
    state = optimizer.init(params)

    def loss_of(params: Any, buffers: Any) -> Any:
        out, buffers = forward(params, batch[0], buffers=buffers)
        return loss(out, batch[1]), buffers

    gradient = pax_torch.grad(loss_of, has_aux=True)
    for _ in range(STEPS):
        grads, buffers = gradient(params, buffers)
        params, state = optimizer.step(params, grads, state)
        del grads


def train_plain(name: str, make: Callable[[], nn.Module], loss: Loss, batch: Batch) -> None:
    net = make().to(batch[0].device)
    cls, options = OPTIMIZERS[name]
    optimizer = cls(net.parameters(), **options)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(net(batch[0]), batch[1]).backward()
        optimizer.step()
