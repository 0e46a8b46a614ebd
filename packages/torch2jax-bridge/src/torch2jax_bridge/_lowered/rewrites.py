"""Functions of PyTorch that are recorded as others, since their operators do not say all they do."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, NamedTuple

import torch

from torch2jax_bridge._compat import batch_norm_that_says_what_it_writes
from torch2jax_bridge._lowered.recurrent import RECURRENT

_functions: Any = torch.nn.functional
Maybe = torch.Tensor | None


def rewritten(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what stands for a function in a recording: mostly itself."""
    return _REWRITES.get(function, function)


class _Norm(NamedTuple):
    """The arguments of `torch.batch_norm`."""

    input: torch.Tensor
    weight: Maybe
    bias: Maybe
    running_mean: Maybe
    running_var: Maybe
    training: bool
    momentum: float
    eps: float
    cudnn_enabled: bool = True


def _batch_norm(*args: Any, **kwargs: Any) -> torch.Tensor:
    """`torch.batch_norm` by the operator that says that it writes into the averages."""
    norm = _Norm(*args, **kwargs)
    if norm.training and norm.input.numel() == 0:  # which leaves the averages as they are
        norm = norm._replace(running_mean=None, running_var=None)
    if not norm.training or norm.running_mean is None:
        return torch.batch_norm(*norm)
    return batch_norm_that_says_what_it_writes(*norm[:-1])[0]


def _instance_norm(*args: Any, use_input_stats: bool | None = None, **kwargs: Any) -> torch.Tensor:
    """`torch.instance_norm` as the batch norm of all images side by side."""
    if use_input_stats is not None:
        kwargs["training"] = use_input_stats
    norm = _Norm(*args, **kwargs)
    images, channels, *space = norm.input.shape

    def repeated(values: Maybe) -> Maybe:
        return None if values is None else values.repeat(images)

    wide = norm._replace(
        input=norm.input.reshape(1, images * channels, *space),
        weight=repeated(norm.weight),
        bias=repeated(norm.bias),
        running_mean=repeated(norm.running_mean),
        running_var=repeated(norm.running_var),
    )
    out = _batch_norm(*wide)
    if norm.training:
        for values, new in zip(norm[3:5], wide[3:5], strict=True):
            if values is not None and new is not None:
                values.copy_(new.view(images, channels).mean(0))
    return out.view(norm.input.shape)


def _with_names_of(function: Callable[..., Any], by: Callable[..., Any]) -> Callable[..., Any]:
    """Return `by`, called with the arguments of a function of `torch.nn.functional` by their names."""
    names = signature(function)

    def call(*args: Any, **kwargs: Any) -> Any:
        bound = names.bind(*args, **kwargs)
        bound.apply_defaults()
        return by(**bound.arguments)

    return call


def _linear_cross_entropy(
    input: torch.Tensor,
    linear_weight: torch.Tensor,
    target: torch.Tensor,
    *args: Any,
    options: Any = None,
    **kwargs: Any,
) -> torch.Tensor:
    """`linear_cross_entropy` in one piece; in several it computes its derivatives beforehand.

    It then has none for the weights of the classes.
    """
    in_pieces = options is not None and not kwargs.get("label_smoothing")
    in_pieces = in_pieces and target.dtype == torch.int64 and linear_weight.ndim == 2
    if in_pieces and kwargs.get("weight") is not None:
        kwargs["weight"] = kwargs["weight"].detach()
    return _functions.linear_cross_entropy(input, linear_weight, target, *args, **kwargs)


def _pad(x: torch.Tensor, pad: Any, mode: str = "constant", value: Any = None) -> torch.Tensor:
    """`pad`; the circular one by places, since its operator writes into slices of a new tensor."""
    if mode != "circular":
        return _functions.pad(x, pad, mode, value)
    for i in range(0, len(pad), 2):
        dim, before, after = x.ndim - 1 - i // 2, pad[i], pad[i + 1]
        inside = x.shape[dim] + min(before, 0) + min(after, 0)
        places = torch.arange(-max(before, 0), inside + max(after, 0), device=x.device) % inside
        x = x.index_select(dim, places + max(-before, 0))
    return x


def _multilabel_margin_loss(input: torch.Tensor, target: torch.Tensor, **how: Any) -> torch.Tensor:
    """`multilabel_margin_loss`, whose result for one row has a dimension only where it has no values."""
    loss = _functions.multilabel_margin_loss(input, target, **how)
    return loss.reshape(()) if input.ndim < 2 else loss


_REWRITES: dict[Any, Callable[..., Any]] = {
    **RECURRENT,
    torch.batch_norm: _batch_norm,
    torch.instance_norm: _instance_norm,
    _functions.batch_norm: _with_names_of(_functions.batch_norm, _batch_norm),
    _functions.instance_norm: _with_names_of(_functions.instance_norm, _instance_norm),
    _functions.multilabel_margin_loss: _with_names_of(
        _functions.multilabel_margin_loss, _multilabel_margin_loss
    ),
    getattr(_functions, "linear_cross_entropy", None): _linear_cross_entropy,
    _functions.pad: _with_names_of(_functions.pad, lambda input, **options: _pad(input, **options)),
}
