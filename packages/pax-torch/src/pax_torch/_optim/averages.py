"""Averages of trees over steps: plain ones, and those that forget."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pax_torch._tracing import values_are_hidden
from pax_tree import tree_leaves, tree_map

State = dict[str, Any]


def running_avg_step(average: Any, value: Any, step: int | Tensor) -> Any:
    """Return the mean of all values so far, from that of the values before.

    Args:
        average: a tree of tensors or numbers, the mean of the values before; of the first value,
            anything like it, such as zeros.
        value: a tree like it.
        step: how many values came before, an integer from 0 or a tensor.

    Returns:
        A tree like `value`; of tensors of integers and of booleans, of PyTorch's default type, and of
        half precision, of single precision, in which a mean goes on changing.

    Raises:
        ValueError: the trees differ in structure.

    Example:
        >>> import pax_torch
        >>> average = {"loss": 0.0}
        >>> for step, loss in enumerate([1.0, 2.0, 6.0]):
        ...     average = pax_torch.running_avg_step(average, {"loss": loss}, step)
        >>> average
        {'loss': 3.0}
    """
    return tree_map(lambda old, new: _mean(_as_real(old), _as_real(new), step), average, value)


def _mean(old: Any, new: Any, step: int | Tensor) -> Any:
    """Return the mean after a value; nothing of `old` is in that of the first, be it huge or NaN."""
    is_first: Any = step == 0
    if not isinstance(step, Tensor) and not is_first:
        return old + (new - old) / (step + 1)
    tensors = [x for x in (new, old, step) if isinstance(x, Tensor)]
    if not tensors:
        return new / 1
    is_first = torch.as_tensor(is_first, device=tensors[0].device)
    count = step.to(tensors[0].device) + 1 if isinstance(step, Tensor) else 1
    return _as_type(torch.where(is_first, new, old + (new - old) / count), old, new)


def _as_real(x: Any) -> Any:
    return _wide(x) if _is_averaged(x) else x.to(torch.get_default_dtype())


def _wide(x: Any) -> Any:
    """Return a tensor of half precision in single precision, and anything else as it is."""
    return x.float() if isinstance(x, Tensor) and x.dtype in _HALVES else x


_HALVES = (torch.bfloat16, torch.float16)


def _as_type(result: Any, a: Any, b: Any) -> Any:
    """Return a tensor in the type of two operands, whatever the type of the number they met."""
    if not (isinstance(a, Tensor) or isinstance(b, Tensor)):
        return result
    if torch.compiler.is_compiling():  # which knows the types of results alone
        return result.to((a + b).dtype)
    return result.to(torch.result_type(a, b))


def ema_init(tree: Any) -> State:
    """Return the state of an exponential moving average before its first value.

    Args:
        tree: a pytree of tensors and numbers, such as the parameters to average.

    Returns:
        A dictionary with the `average`, zeros like `tree` but in single precision for tensors of half
        precision, in which small changes would be lost; and the `weight` of all values so far, a tensor
        of shape ().

    Example:
        >>> import torch, pax_torch
        >>> pax_torch.ema_init({"w": torch.ones(2)})
        {'average': {'w': tensor([0., 0.])}, 'weight': tensor(0.)}
    """
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
    # Where it has a value, if any leaf has one.
    devices = [x.device for x in tensors if not x.is_meta] or [x.device for x in tensors]
    device = devices[0] if devices else None
    is_double = any(x.dtype in (torch.float64, torch.complex128) for x in tensors)
    dtype = torch.float64 if is_double else torch.float32
    weight = torch.zeros((), dtype=dtype, device=device)
    return {"average": tree_map(_zeros_like, tree), "weight": weight}


def ema_step(state: State, value: Any, decay: float | Tensor) -> State:
    """Return the state of an exponential moving average after a value.

    Args:
        state: as `ema_init` or the last step returned it; it is not changed.
        value: a tree like the one given to `ema_init`. Of tensors of integers and of booleans, such
            as counters among the buffers of a module, the last value is kept.
        decay: how much of the past is kept, from 0 to 1; it may differ from step to step.

    Returns:
        A new state.

    Raises:
        ValueError: the trees differ in structure, or `decay` is a number that is not from 0 to 1.

    Example:
        >>> import torch, pax_torch
        >>> state = pax_torch.ema_init(torch.tensor(0.0))
        >>> pax_torch.ema_step(state, torch.tensor(4.0), decay=0.75)
        {'average': tensor(1.), 'weight': tensor(0.2500)}

    The average is that of Adam, after Kingma and Ba, "Adam" (2014).
    """
    if not _is_share(decay):
        raise ValueError(f"ema_step: decay must be from 0 to 1, got {decay}.")
    return {
        "average": tree_map(lambda old, new: _mix(old, new, decay), state["average"], value),
        "weight": _mix(state["weight"], 1.0, decay),
    }


def ema_read(state: State, bias_correction: bool = True) -> Any:
    """Return the exponential moving average.

    Args:
        state: as `ema_init` or `ema_step` returned it.
        bias_correction: divide by the weight of the values, so that the zeros from which the average
            began have none.

    Returns:
        A tree like the values, in single precision for those in half precision (which `tree_cast`
        gives back); zeros before the first.

    Example:
        >>> import torch, pax_torch
        >>> state = pax_torch.ema_init(torch.tensor(0.0))
        >>> state = pax_torch.ema_step(state, torch.tensor(4.0), decay=0.75)
        >>> pax_torch.ema_read(state)
        tensor(4.)
    """
    if not bias_correction:
        return state["average"]
    weight = torch.where(state["weight"] > 0, state["weight"], 1.0)
    return tree_map(lambda x: _divided(x, weight) if _is_averaged(x) else x, state["average"])


def _divided(x: Any, weight: Tensor) -> Any:
    return (x / weight.to(x.device)).to(x.dtype) if isinstance(x, Tensor) else x / weight


def _mix(old: Any, new: Any, decay: float | Tensor) -> Any:
    if not _is_averaged(new):
        return new
    old, new = _wide(old), _wide(new)
    return _as_type(old * decay + new * (1 - decay), old, new)


def _is_share(x: float | Tensor) -> bool:
    """Whether a number is from 0 to 1, as far as that is at hand."""
    if not isinstance(x, Tensor):
        return 0 <= x <= 1
    at_hand = x.device.type == "cpu" and not values_are_hidden()
    return not at_hand or bool(((x >= 0) & (x <= 1)).all())


def _is_averaged(x: Any) -> bool:
    return not isinstance(x, Tensor) or x.is_floating_point() or x.is_complex()


def _zeros_like(x: Any) -> Any:
    return torch.zeros_like(_wide(x), requires_grad=False) if isinstance(x, Tensor) else 0.0
