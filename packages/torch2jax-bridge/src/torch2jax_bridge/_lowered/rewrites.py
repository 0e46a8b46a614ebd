"""Functions of PyTorch that are recorded as others, since their operators do not say all they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_aten = torch.ops.aten


def rewritten(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what stands for a function in a recording: mostly itself."""
    return _REWRITES.get(function, function)


def _batch_norm(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    mean: torch.Tensor | None,
    var: torch.Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> torch.Tensor:
    """`torch.batch_norm` by the operator that says that it writes into the averages."""
    if not training or mean is None or var is None:
        return torch.batch_norm(x, weight, bias, mean, var, training, momentum, eps, cudnn_enabled)
    legit = _aten._native_batch_norm_legit
    return legit.default(x, weight, bias, mean, var, training, momentum, eps)[0]


def _instance_norm(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    mean: torch.Tensor | None,
    var: torch.Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> torch.Tensor:
    """`torch.instance_norm` as the batch norm of all images side by side."""
    images, channels = x.shape[:2]

    def repeated(values: torch.Tensor | None) -> torch.Tensor | None:
        return None if values is None else values.repeat(images)

    means, variances = repeated(mean), repeated(var)
    out = _batch_norm(
        x.reshape(1, images * channels, *x.shape[2:]),
        *(repeated(weight), repeated(bias), means, variances),
        *(use_input_stats, momentum, eps),
    )
    if use_input_stats:
        for values, new in ((mean, means), (var, variances)):
            if values is not None and new is not None:
                values.copy_(new.view(images, channels).mean(0))
    return out.view(x.shape)


def _without_gradient(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach()


def _functional_batch_norm(
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    if training and x.numel() // max(x.shape[1], 1) < 2:
        raise ValueError(f"Batch norm in training needs two values a channel; x is {x.shape}.")
    return _batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps)


def _functional_instance_norm(
    x: torch.Tensor,
    running_mean: torch.Tensor | None = None,
    running_var: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    return _instance_norm(x, weight, bias, running_mean, running_var, use_input_stats, momentum, eps)


_tensor: Any = torch.Tensor
_functions = torch.nn.functional
_REWRITES: dict[Any, Callable[..., Any]] = {
    torch.batch_norm: _batch_norm,
    torch.instance_norm: _instance_norm,
    _functions.batch_norm: _functional_batch_norm,
    _functions.instance_norm: _functional_instance_norm,
    _tensor.data.__get__: _without_gradient,
}
