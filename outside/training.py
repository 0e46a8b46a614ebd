"""Five training steps of a model, by PyTorch itself and by pax_torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import pax_torch
from outside.models import Batch, Model

STEPS = 5
RATE = 1e-2
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Run:
    """What a training run leaves: the loss of each step, and the module's parameters and buffers."""

    losses: list[torch.Tensor]
    state: Tensors


def trained_names(module: torch.nn.Module) -> list[str]:
    """Return the names of the parameters that are trained."""
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


def plain(model: Model, steps: int = STEPS) -> Run:
    """Train with AdamW and a schedule by cosine, as in any PyTorch script."""
    module, batch = model.module(), model.batch()
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    losses = []
    for step in range(steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        loss = model.loss(module(**batch))
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    return Run(losses, {**pax_torch.get_params(module), **pax_torch.get_buffers(module)})


def functional(
    model: Model, compiled: Callable[[Any], Any] | None = None, steps: int = STEPS
) -> Run:
    """Train with pax_torch's functions of parameters; `compiled` transforms the whole step."""
    module, batch = model.module(), model.batch()
    forward = pax_torch.functional_module(module)
    optimizer = pax_torch.functional_optimizer(torch.optim.AdamW, lr=RATE)
    rate = pax_torch.functional_schedule(
        torch.optim.lr_scheduler.CosineAnnealingLR, T_max=steps, initial_lr=RATE
    )
    params, buffers = pax_torch.get_params(module), pax_torch.get_buffers(module)
    trained = {name: params.pop(name) for name in trained_names(module)}

    def loss(trained: Tensors, buffers: Tensors, batch: Batch) -> Any:
        out, buffers = forward({**params, **trained}, buffers=buffers, is_training=True, **batch)
        return model.loss(out), buffers

    def step(trained: Tensors, state: Any, buffers: Tensors, batch: Batch, lr: Any) -> Any:
        (value, buffers), grads = pax_torch.value_and_grad(loss, has_aux=True)(
            trained, buffers, batch
        )
        trained, state = optimizer.step(trained, grads, state, lr=lr)
        return value, trained, state, buffers

    run_step = step if compiled is None else compiled(step)
    state, losses = optimizer.init(trained), []
    for i in range(steps):
        torch.manual_seed(i)
        lr = rate(i) if compiled is None else torch.tensor(rate(i))
        value, trained, state, buffers = run_step(trained, state, buffers, batch, lr)
        losses.append(value)
    return Run(losses, {**params, **trained, **buffers})
