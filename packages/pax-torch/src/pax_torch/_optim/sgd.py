"""SGD on CPU for a list of tensors at once.

It computes the bits of `torch.optim.SGD`, with a call per operation instead of one per parameter, and
without copying what it does not write. Other devices and classes have torch's own kernels for that.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from pax_torch._optim.checks import writable
from pax_torch._optim.formulas import State
from pax_torch._optim.options import hold_tensors
from pax_torch._optim.state import Columns
from pax_tree import PyTreeDef, tree_unflatten

# Above this mean number of elements, unless all together fit into a cache, one parameter after the
# other is better.
_SMALL, _CACHED = 4096, 2**18
_DTYPES = {torch.float32, torch.float64}
_NAME = "momentum_buffer"
_Pair = tuple[list[Tensor], list[Tensor] | None]

_dtype, _is_cpu, _is_sparse = map(attrgetter, ("dtype", "is_cpu", "is_sparse"))


def sgd_columns(
    tensors: list[Tensor],
    gradients: list[Any],
    columns: Columns,
    options: dict[str, Any],
    treedef: PyTreeDef,
    donate: tuple[bool, bool],
) -> tuple[Any, State] | None:
    """Return parameters and state after a step where `sgd_step` may take it, None elsewhere.

    Args:
        tensors: the parameters.
        gradients: what stands in their places in the tree of gradients.
        columns: the state, as SGD keeps it.
        options: the hyperparameters.
        treedef: the structure of the parameters.
        donate: whether the memory of parameters and state may be written.
    """
    buffers = columns.get(_NAME)
    if not columns.keys() <= {_NAME} or not _serves(
        options, tensors, gradients, buffers, donate[0]
    ):
        return None
    variables = writable(tensors, True) if donate[0] else tensors
    new, new_buffers = sgd_step(variables, gradients, buffers, options, donate)
    new_state = {} if new_buffers is None else {_NAME: tree_unflatten(treedef, new_buffers)}
    return tree_unflatten(treedef, new), new_state


def _serves(
    options: dict[str, Any],
    params: list[Tensor],
    grads: list[Any],
    buffers: list[Any] | None,
    donate: bool,
) -> bool:
    """Whether the step computes the bits of the class, and is no slower."""
    together = [*params, *grads, *(buffers or ())]
    if set(map(type, together)) != {Tensor}:
        return False
    dtypes = set(map(_dtype, together))
    return (
        options["foreach"] is not False
        and not options["fused"]
        and not hold_tensors(options)
        and len(dtypes) == 1
        and dtypes <= _DTYPES
        and all(map(_is_cpu, together))
        and not any(map(_is_sparse, grads))
        and all(map(Tensor.is_same_size, params, grads))
        and (buffers is None or all(map(Tensor.is_same_size, params, buffers)))
        and (not donate or sum(map(Tensor.numel, params)) <= max(_SMALL * len(params), _CACHED))
    )


@torch.no_grad()
def sgd_step(
    params: list[Tensor],
    grads: list[Tensor],
    buffers: Any,
    options: dict[str, Any],
    donate: tuple[bool, bool],
) -> _Pair:
    """Return the parameters and the momentum buffers after a step.

    Args:
        params: tensors of one dtype.
        grads: tensors like them.
        buffers: tensors like them, the momentum, or None before the first step.
        options: the hyperparameters.
        donate: whether the memory of the parameters and that of the buffers may be written.
    """
    decay, momentum, own = options["weight_decay"], options["momentum"], False
    if options["maximize"]:
        grads, own = _foreach("neg", grads), True
    if decay != 0:
        grads, own = _foreach("add", grads, params, alpha=decay), True
    if momentum != 0:
        if buffers is None:
            buffers = grads if own and not options["nesterov"] else _foreach("clone", grads)
        else:
            # A multiplication by a number would make a tensor of it for each parameter.
            factor = torch.tensor(momentum, dtype=buffers[0].dtype)
            buffers = _written("mul", donate[1], buffers, factor)
            _foreach("add_", buffers, grads, alpha=1 - options["dampening"])
        grads = _foreach("add", grads, buffers, alpha=momentum) if options["nesterov"] else buffers
    return _written("add", donate[0], params, grads, alpha=-options["lr"]), buffers


def _foreach(name: str, *args: Any, **kwargs: Any) -> Any:
    return getattr(torch, f"_foreach_{name}")(*args, **kwargs)


def _written(name: str, in_place: bool, tensors: list[Tensor], *args: Any, **kwargs: Any) -> Any:
    """Return the result of an operation, in the memory of `tensors` or in its own."""
    if not in_place:
        return _foreach(name, tensors, *args, **kwargs)
    _foreach(f"{name}_", tensors, *args, **kwargs)
    return tensors
