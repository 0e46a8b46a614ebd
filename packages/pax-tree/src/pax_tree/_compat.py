"""Private names of other libraries: what each is for, and what happens without it."""

from __future__ import annotations

import functools

from pax_tree._foreign import foreign

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


@functools.cache
def torch_pytree() -> Any:
    """Return the module of PyTorch's pytrees; without it PyTorch does not share the registry."""
    return foreign("torch.utils._pytree", "pax_tree's exchange of classes with PyTorch")


@functools.cache
def named_tuples_of_jax() -> dict[type, Any]:
    """Return what JAX keeps of registrations, by class.

    JAX does not say otherwise how a named tuple is registered: without this it is taken apart like
    any named tuple.
    """
    return foreign("jax._src.tree_util._registry", "registered named tuples of JAX", {})


def substitute_class(cls: type) -> Any:
    """Return a decorator for what `torch.compile` calls in place of a class of C.

    Without the option, it cannot compile the flatten functions that make key objects.
    """
    substitute = foreign("torch._dynamo.decorators.substitute_in_graph", "torch.compile", None)
    try:
        return substitute(cls, is_embedded_type=True, skip_signature_check=True)
    except TypeError:
        return lambda function: function


_FORWARD_MODE = "forward mode in several threads"


@functools.cache
def forward_mode() -> tuple[Any, Any] | None:
    """Return the modules that keep PyTorch's `_current_level` and `JVP_NESTING`.

    None where one of them is gone: derivatives in forward mode are then right as long as those of
    several threads do not overlap.
    """
    levels = foreign("torch.autograd.forward_ad", _FORWARD_MODE, None)
    transforms = foreign("torch._functorch.eager_transforms", _FORWARD_MODE, None)
    level = foreign("torch.autograd.forward_ad._current_level", _FORWARD_MODE, None)
    nesting = foreign("torch._functorch.eager_transforms.JVP_NESTING", _FORWARD_MODE, None)
    return None if level is None or nesting is None else (levels, transforms)


def current_forward_level() -> int:
    """Return the number of PyTorch's open level of forward mode; -1 where none is open."""
    modules = forward_mode()
    return -1 if modules is None else modules[0]._current_level


def forward_nesting(change: int = 0) -> int:
    """Return how many calls of `torch.func.jvp` are running in the process, after a change."""
    modules = forward_mode()
    if modules is None:
        return 0
    if change:
        modules[1].JVP_NESTING += change
    return modules[1].JVP_NESTING
