"""The policies of `checkpoint`: what is kept of the intermediate results.

A policy is called as PyTorch's: with a context, an operation and its arguments, and says whether to keep
what the operation returns.
"""

from __future__ import annotations

from typing import Any

import torch

from pax_torch._compat import scaled_product

_aten = torch.ops.aten
_PLAIN = {
    _aten.mm.default,
    _aten.addmm.default,
    _aten.mv.default,
    _aten.addmv.default,
    _aten.dot.default,
    _aten.vdot.default,
    scaled_product,
}
_DOTS = {*_PLAIN, _aten.bmm.default, _aten.baddbmm.default, _aten.convolution.default}


def everything_saveable(context: Any, operation: Any, *args: Any, **kwargs: Any) -> bool:
    """Keep every result, as without `checkpoint`.

    Args:
        context: what PyTorch says about the call; not used.
        operation: the operator of PyTorch.
        *args: what it is called with; not used.
        **kwargs: the same.

    Example:
        >>> import pax_torch
        >>> f = pax_torch.checkpoint(
        ...     lambda x: x.exp(), policy=pax_torch.checkpoint_policies.everything_saveable
        ... )
        >>> pax_torch.grad(f)(0.0)
        tensor(1.)

    The API is that of `jax.checkpoint_policies.everything_saveable`.
    """
    return True


def nothing_saveable(context: Any, operation: Any, *args: Any, **kwargs: Any) -> bool:
    """Compute every result again, as `checkpoint` does without a policy.

    Args:
        context: what PyTorch says about the call; not used.
        operation: the operator of PyTorch.
        *args: what it is called with; not used.
        **kwargs: the same.

    Example:
        >>> import pax_torch
        >>> f = pax_torch.checkpoint(
        ...     lambda x: x.exp(), policy=pax_torch.checkpoint_policies.nothing_saveable
        ... )
        >>> pax_torch.grad(f)(0.0)
        tensor(1.)

    The API is that of `jax.checkpoint_policies.nothing_saveable`.
    """
    return False


def dots_saveable(context: Any, operation: Any, *args: Any, **kwargs: Any) -> bool:
    """Keep the results of products of matrices and of convolutions, and compute all else again.

    Args:
        context: what PyTorch says about the call; not used.
        operation: the operator of PyTorch.
        *args: what it is called with; not used.
        **kwargs: the same.

    Example:
        >>> import torch, pax_torch
        >>> f = pax_torch.checkpoint(
        ...     lambda x: (x @ x).sin().sum(), policy=pax_torch.checkpoint_policies.dots_saveable
        ... )
        >>> pax_torch.grad(f)(torch.zeros(1, 1))
        tensor([[0.]])

    The API is that of `jax.checkpoint_policies.dots_saveable`.
    """
    return operation in _DOTS


def dots_with_no_batch_dims_saveable(
    context: Any, operation: Any, *args: Any, **kwargs: Any
) -> bool:
    """Keep the results of products of matrices that have no batch axes, such as those of linear layers.

    Args:
        context: what PyTorch says about the call; not used.
        operation: the operator of PyTorch.
        *args: what it is called with; not used.
        **kwargs: the same.

    Example:
        >>> import torch, pax_torch
        >>> keep = pax_torch.checkpoint_policies.dots_with_no_batch_dims_saveable
        >>> f = pax_torch.checkpoint(lambda x: (x @ x).sin().sum(), policy=keep)
        >>> pax_torch.grad(f)(torch.zeros(1, 1))
        tensor([[0.]])

    The API is that of `jax.checkpoint_policies.dots_with_no_batch_dims_saveable`.
    """
    return operation in _PLAIN
