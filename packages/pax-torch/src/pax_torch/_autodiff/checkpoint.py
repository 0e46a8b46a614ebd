"""`checkpoint`: a function whose intermediate results are computed again for its derivative."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch.utils.checkpoint
from torch import Tensor
from torch.utils.checkpoint import create_selective_checkpoint_contexts

from pax_torch._autodiff.flatten_fun import partition
from pax_torch._autodiff.grad import at_this_depth, current_depth
from pax_torch._autodiff.policies import everything_saveable, nothing_saveable
from pax_torch._compat import (
    all_examples,
    differentiates,
    inside_of_transforms,
    is_without_values,
    mapped_by,
    one_example,
    outside_of_transforms,
    refuses_checkpoint,
    running_vmaps,
    transforms_active,
    version_of,
)
from pax_torch._errors import check_callable, describe
from pax_torch._rng import RandomState
from pax_tree import tree_leaves

Policy = Callable[..., Any]


def checkpoint(fun: Callable[..., Any], *, policy: Policy | None = None) -> Callable[..., Any]:
    """Return `fun` with less memory for its derivative, and the same values.

    Between the forward and the backward pass nothing is kept of a call but its arguments; the
    backward pass runs `fun` again, with the same random numbers; so too inside of `vmap`. Intermediate
    results are kept, as without it, inside of the derivatives of `torch.func` (`jvp`, `vjp` and
    Jacobians), where one of these or a `vmap` with `chunk_size` is in `fun` or around it, and in what
    `jit` compiles.

    Args:
        fun: any function of pytrees; it may close over tensors, which have their derivatives. It writes
            neither to these nor, unseen by PyTorch, to the `.data` of an argument: it would do so again.
        policy: which intermediate results are kept; by default none. One of
            `pax_torch.checkpoint_policies`, or a function as `create_selective_checkpoint_contexts` of
            PyTorch takes it. A derivative within another one keeps none, and a backward pass is run
            once.

    Returns:
        A function with the arguments and results of `fun`.

    Raises:
        TypeError: `fun` or `policy` is no function.
        RuntimeError: in a call: `fun` writes to an argument, which it would do again.

    Example:
        >>> import pax_torch
        >>> f = pax_torch.checkpoint(lambda x: (x.sin() * 2).exp())
        >>> pax_torch.grad(pax_torch.grad(f))(0.0)
        tensor(4.)

    The API is that of `jax.checkpoint`; the work is done by `torch.utils.checkpoint`.
    """
    check_callable(fun, "checkpoint")
    if policy is not None and not callable(policy):
        raise TypeError(
            f"checkpoint: policy must be a function, such as those of pax_torch.checkpoint_policies, "
            f"got {describe(policy)}."
        )

    @functools.wraps(fun, updated=())
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        call = functools.partial(fun, *args, **kwargs)
        if differentiates() or not torch.is_grad_enabled() or policy is everything_saveable:
            return call()
        if is_without_values() or torch.compiler.is_compiling():
            return call()
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        # Here, since the first run may end after it has drawn some.
        random_state = RandomState(tensors)
        try:
            if transforms_active():
                return _mapped(fun, args, kwargs, policy)
            return _checkpointed(call, policy, tensors)
        except RuntimeError as error:
            if not refuses_checkpoint(error):
                raise
        random_state.restore()
        return call()

    return checkpointed


def _checkpointed(
    call: Callable[..., Any], policy: Policy | None, arguments: Sequence[Tensor], *given: Tensor
) -> Any:
    """Return the result of a call, which may not write to its arguments where it would be run again."""
    checkpoint: Any = torch.utils.checkpoint.checkpoint
    contexts = _contexts(policy)
    before = _versions(arguments)
    out = checkpoint(at_this_depth(call), *given, use_reentrant=False, **contexts)
    if _versions(arguments) != before and any(map(_is_recorded, tree_leaves(out))):
        i = next(i for i, x in enumerate(_versions(arguments)) if x != before[i])
        raise RuntimeError(
            f"checkpoint: the function writes to {describe(arguments[i])} among its arguments, and would "
            "write to it again where the derivative runs it again; write to a clone, and return that."
        )
    return out


def _versions(tensors: Sequence[Tensor]) -> list[int]:
    """Return how often each tensor was written to."""
    return [0 if x.is_inference() else version_of(x) for x in tensors]


def _is_recorded(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.requires_grad


def _mapped(fun: Callable[..., Any], args: Any, kwargs: Any, policy: Policy | None) -> Any:
    """Return the result inside of `vmap`, by a checkpoint around what is mapped."""
    tensors, rest = partition((args, kwargs))
    running = sorted(running_vmaps())
    vmaps = [mapped_by(x, running) for x in tensors]
    results: list[Any] = []

    def call(*examples: Tensor) -> list[Tensor]:
        with inside_of_transforms(stack):
            given = [one_example(x, levels) for x, levels in zip(examples, vmaps, strict=True)]
            args, kwargs = rest.combine(given)
            out, result = partition(fun(*args, **kwargs))
            levels = [mapped_by(x, running) for x in out]
            results.append((result, levels))
            return [all_examples(x, each) for x, each in zip(out, levels, strict=True)]

    examples = [all_examples(x, levels) for x, levels in zip(tensors, vmaps, strict=True)]
    with outside_of_transforms() as stack:
        out = _checkpointed(call, policy, examples, *examples)
    result, levels = results[0]
    return result.combine([one_example(x, each) for x, each in zip(out, levels, strict=True)])


def _contexts(policy: Policy | None) -> dict[str, Any]:
    """Return what makes PyTorch keep what a policy says."""
    # What is kept is used up by a backward pass, of which nested derivatives run several.
    if policy in (None, nothing_saveable) or current_depth() > 1:
        return {}
    return {"context_fn": functools.partial(create_selective_checkpoint_contexts, policy)}
