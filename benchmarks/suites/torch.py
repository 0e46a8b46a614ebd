"""pax_torch beside hand-written autograd, plain PyTorch, torch.func and TorchOpt."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torchopt
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.nn.functional import cross_entropy, mse_loss

import pax_torch
from benchmarks.allocator import freed_memory_kept
from benchmarks.case import Case, Program
from benchmarks.threads import one_torch_thread

SGD = {"lr": 0.01, "momentum": 0.9}
Loss = Callable[[Tensor, Tensor], Tensor]
Batch = tuple[Tensor, Tensor]


def cases(device: str) -> Iterator[Case]:
    """The gradient of a scalar function, and training steps with SGD and momentum."""
    torch.manual_seed(0)
    narrow = torch.randn(128, 8, device=device), torch.randn(128, 8, device=device)
    images = torch.randn(128, 3, 32, 32, device=device), torch.randint(10, (128,), device=device)
    with one_torch_thread(), freed_memory_kept():
        yield scalar_gradient(device)
        for donate in (False, True):
            end = "step-donated" if donate else "step"
            yield training_step(f"mlp-{end}", mlp().to(device), mse_loss, narrow, donate)
            yield training_step(
                f"cifar-{end}", cifar_net().to(device), cross_entropy, images, donate
            )
            small = images[0][:16], images[1][:16]
            yield from large_step(
                f"resnet-{end}", resnet18().to(device), cross_entropy, small, donate
            )


def scalar_gradient(device: str) -> Case:
    x = torch.tensor(2.0, device=device)
    return Case(
        suite="torch",
        case="grad-scalar",
        ours=partial(pax_torch.grad(cube), x),
        peers={"torch.func": partial(torch.func.grad(cube), x)},
        limit=("torch.autograd.grad", partial(gradient_by_hand, x)),
        agree=torch.allclose,
    )


def cube(x: Tensor) -> Tensor:
    return x**3 / 6


def gradient_by_hand(x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(cube(x), x)[0]


def training_step(name: str, net: nn.Module, loss: Loss, batch: Batch, donate: bool) -> Case:
    """One step of the same network from the same parameters; each program goes on from its own."""
    return Case(
        suite="torch",
        case=name,
        ours=pax_torch_step(net, loss, batch, donate),
        peers={
            "torch.func": torch_func_step(net, loss, batch),
            "TorchOpt": torchopt_step(net, loss, batch),
        },
        limit=("plain torch", plain_step(net, loss, batch)),
        agree=agree_after_step,
    )


def large_step(name: str, net: nn.Module, loss: Loss, batch: Batch, donate: bool) -> Iterator[Case]:
    """A step beside plain PyTorch, then beside the peers, whose heap a large step has to grow."""
    yield replace(training_step(name, net, loss, batch, donate), peers={})
    yield replace(training_step(f"{name}-peers", net, loss, batch, donate), limit=None)


def mlp() -> nn.Module:
    """A hundred layers of width 8: all overhead."""
    layers = [layer for _ in range(99) for layer in (nn.Linear(8, 8), nn.Tanh())]
    return nn.Sequential(*layers, nn.Linear(8, 8))


def cifar_net() -> nn.Module:
    """The small convolutional network of PyTorch's CIFAR-10 tutorial."""
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


class Block(nn.Module):
    """Two convolutions beside an identity, or a projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)),
            nn.ReLU(inplace=True),
            *(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)),
        )
        self.beside = nn.Identity() if inputs == outputs else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.beside(x)).relu_()


def resnet18() -> nn.Module:
    """ResNet-18 for images of 32 by 32: eight blocks behind one convolution."""
    widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
    blocks = [Block(a, b, 1 if a == b else 2) for a, b in pairwise(widths)]
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)),
        *(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)),
    )


def pax_torch_step(net: nn.Module, loss: Loss, batch: Batch, donate: bool) -> Program:
    forward = pax_torch.functional_module(net)
    optimizer = pax_torch.functional_optimizer(torch.optim.SGD, **SGD, donate=donate)
    params, buffers = pax_torch.get_params(net), pax_torch.get_buffers(net)
    state = optimizer.init(params)

    def loss_of(
        params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        out, buffers = forward(params, x, buffers=buffers)
        return loss(out, y), buffers

    value_and_grad = pax_torch.value_and_grad(loss_of, has_aux=True)

    def step() -> tuple[Tensor, Tensor]:
        nonlocal params, buffers, state
        (value, buffers), grads = value_and_grad(params, buffers, *batch)
        params, state = optimizer.step(params, grads, state)
        return value, first(params)

    return step


def torch_func_step(net: nn.Module, loss: Loss, batch: Batch) -> Program:
    params = {name: parameter.detach() for name, parameter in net.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    momentum = {name: torch.zeros_like(parameter) for name, parameter in params.items()}

    def loss_of(
        params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        buffers = {name: buffer.clone() for name, buffer in buffers.items()}
        return loss(functional_call(net, (params, buffers), (x,)), y), buffers

    value_and_grad = grad_and_value(loss_of, has_aux=True)

    def step() -> tuple[Tensor, Tensor]:
        nonlocal params, buffers, momentum
        grads, (value, buffers) = value_and_grad(params, buffers, *batch)
        momentum = {name: SGD["momentum"] * momentum[name] + grads[name] for name in params}
        params = {name: params[name] - SGD["lr"] * momentum[name] for name in params}
        return value, first(params)

    return step


def torchopt_step(net: nn.Module, loss: Loss, batch: Batch) -> Program:
    params = {
        name: parameter.detach().clone().requires_grad_()
        for name, parameter in net.named_parameters()
    }
    net = copy.deepcopy(net)
    optimizer = torchopt.FuncOptimizer(torchopt.sgd(**SGD))
    x, y = batch

    def step() -> tuple[Tensor, Tensor]:
        nonlocal params
        value = loss(functional_call(net, params, (x,)), y)
        params = optimizer.step(value, params)
        params = {name: value.detach().requires_grad_() for name, value in params.items()}
        return value, first(params)

    return step


def plain_step(net: nn.Module, loss: Loss, batch: Batch) -> Program:
    net = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), **SGD)
    x, y = batch

    def step() -> tuple[Tensor, Tensor]:
        optimizer.zero_grad()
        value = loss(net(x), y)
        value.backward()
        optimizer.step()
        return value, next(net.parameters())

    return step


def first(params: Any) -> Tensor:
    return next(iter(params.values()))


def agree_after_step(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> bool:
    """The loss and the updated first parameter are the same."""
    return all(
        torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(ours, theirs, strict=True)
    )
