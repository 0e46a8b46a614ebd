"""`checkpoint`: a function whose intermediate results are computed again for its derivative."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch.utils.checkpoint
from torch import Tensor

from pax_torch._autodiff.grad import at_this_depth
from pax_torch._compat import is_traced, refuses_checkpoint, transforms_active
from pax_torch._errors import check_callable
from pax_torch._rng import RandomState
from pax_tree import tree_leaves


def checkpoint(fun: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fun` with less memory for its derivative, and the same values.

    Between the forward and the backward pass nothing is kept of a call but its arguments; the
    backward pass runs `fun` again, with the same random numbers. Intermediate results are kept, as
    without it, inside and around the transforms that are those of `torch.func` (`vmap`, `jvp`,
    `vjp` and Jacobians), and in what `jit` compiles.

    Args:
        fun: any function of pytrees; it may close over tensors, which have their derivatives.

    Returns:
        A function with the arguments and results of `fun`.

    Raises:
        TypeError: `fun` is no function.

    Example:
        >>> import pax_torch
        >>> f = pax_torch.checkpoint(lambda x: (x.sin() * 2).exp())
        >>> pax_torch.grad(pax_torch.grad(f))(0.0)
        tensor(4.)

    The API is that of `jax.checkpoint`; the work is done by `torch.utils.checkpoint`.
    """
    check_callable(fun, "checkpoint")

    @functools.wraps(fun, updated=())
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        call = functools.partial(fun, *args, **kwargs)
        if transforms_active() or is_traced() or not torch.is_grad_enabled():
            return call()
        # Here, since the first run may end after it has drawn some.
        random_state = RandomState(
            [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        )
        try:
            return torch.utils.checkpoint.checkpoint(at_this_depth(call), use_reentrant=False)
        except RuntimeError as error:
            if not refuses_checkpoint(error):
                raise
        random_state.restore()
        return call()

    return checkpointed
