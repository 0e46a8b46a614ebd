"""A PyTorch model inside JAX programs, by torch2jax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import torch

from outside.models import Batch, Model
from outside.training import STEPS, trained_names
from torch2jax_bridge import torch2jax

RATE = 1e-2
EPSILON = 1e-3  # well above rounding, which Adam would scale up
Arrays = dict[str, jax.Array]


@dataclass(frozen=True)
class Converted:
    """A module as a JAX function, with what it is called on."""

    loss: Callable[..., Any]
    trained: Arrays
    frozen: Arrays
    buffers: Arrays
    batch: Arrays
    report: Callable[[], str]


def converted(model: Model, backend: str = "call") -> Converted:
    """Convert a module; its loss is a function of trained parameters, buffers, batch and options."""
    module = model.module()
    options: dict[str, Any] = {"vmap_method": model.vmap_method} if backend == "call" else {}
    apply, params, buffers = torch2jax(module, widen_integers=True, backend=backend, **options)
    params = dict(params)
    trained = {name: params.pop(name) for name in trained_names(module)}

    def loss(trained: Arrays, buffers: Arrays, batch: Arrays, **options: Any) -> Any:
        options = {"is_training": False, **options}
        out, buffers = apply({**params, **trained}, buffers=buffers, **batch, **options)
        return model.loss(out), buffers

    return Converted(loss, trained, params, dict(buffers), in_jax(model.batch()), apply.report)


def in_jax(batch: Batch) -> Arrays:
    """Return a batch as JAX arrays; integers have 32 bits."""
    return {name: jnp.asarray(tensor.numpy()) for name, tensor in batch.items()}


def reference(model: Model) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return PyTorch's own loss and gradients, without dropout."""
    module = model.module().eval()
    loss = model.loss(module(**model.batch()))
    names = trained_names(module)
    parameters = [dict(module.named_parameters())[name] for name in names]
    grads = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return loss.detach(), dict(zip(names, grads, strict=True))


def plain_losses(model: Model, steps: int = STEPS) -> list[float]:
    """Return the losses of training with AdamW in PyTorch, without dropout."""
    module, batch = model.module().eval(), model.batch()
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, eps=EPSILON)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.loss(module(**batch))
        loss.backward()
        for parameter in trained:
            if parameter.grad is None:  # JAX's gradient is zero there, and the decay holds
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses
