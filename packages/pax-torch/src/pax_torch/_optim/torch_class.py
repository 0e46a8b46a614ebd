"""Steps taken by an optimizer class of torch itself, in place."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pax_torch._optim.checks import Rows, is_dense
from pax_torch._optim.options import hold_tensors, is_of_torch, readable

# Below this mean number of elements, a step on CPU is overhead, which torch's foreach
# implementations have less of. In these classes and dtypes both compute the same bits.
_SMALL = 4096
_SAME_BITS_FOREACH = {
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "RMSprop",
    "Rprop",
    "SGD",
}
_SAME_BITS_DTYPES = {torch.float32, torch.float64}
_COMPARED = int | float | complex | str | tuple
# What the classes that others derive from note for themselves.
_OF_TORCH = ("_need_device_dtype_check_for_fused", "_warned_capturable_if_run_uncaptured")


class ClassStep:
    """An optimizer class with its hyperparameters, that steps any list of tensors.

    Args:
        cls: a subclass of `torch.optim.Optimizer`.
        args: hyperparameters, as `cls` takes them after the parameters.
        kwargs: hyperparameters by name.
    """

    def __init__(
        self, cls: type[torch.optim.Optimizer], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.cls, self._args, self._kwargs = cls, args, kwargs
        # A matrix, since some classes (Muon) take nothing else.
        self._prototype = self.make([torch.zeros(1, 1)])
        group = self._prototype.param_groups[0]
        self.options = {name: value for name, value in group.items() if name != "params"}
        self.is_of_torch = is_of_torch(cls)
        self._foreach_is_exact = self.is_of_torch and cls.__name__ in _SAME_BITS_FOREACH

    def make(self, variables: Sequence[Tensor], **options: Any) -> torch.optim.Optimizer:
        """Return an optimizer of `variables`; it checks the hyperparameters."""
        groups = [{"params": variables, **options}]
        return self.cls(groups, *self._args, **self._kwargs)  # pyright: ignore[reportCallIssue]

    def init(self, tensors: Sequence[Tensor], options: dict[str, Any]) -> Rows:
        """Return the state that the class makes before its first step, if it does so then."""
        variables = [tensor.detach() for tensor in tensors]
        optimizer = self.make(variables, **readable(options))
        init_group = getattr(optimizer, "_init_group", None)
        if init_group is not None:
            for variable in variables:
                variable.grad = torch.zeros_like(variable)
            lists = [[] for _ in inspect.signature(init_group).parameters][1:]
            init_group(optimizer.param_groups[0], *lists)
        return [optimizer.state[variable] for variable in variables]

    def step(
        self,
        variables: list[Tensor],
        gradients: list[Tensor],
        rows: Rows,
        options: dict[str, Any],
    ) -> Rows:
        """Step `variables` and the tensors in `rows` in place, and returns the new rows.

        Args:
            variables: floating-point or complex, and not tracked by autograd.
            gradients: one for each variable, of the same shape, dtype and device.
            rows: the state of each variable.
            options: the hyperparameters of this step.

        Raises:
            ValueError: Adagrad is given weight decay and a sparse gradient.
        """
        given = variables
        group = {**self.options, **readable(options)}
        if group.get("fused"):
            # These kernels step all the memory that a tensor spans.
            variables = [x if is_dense(x) else x.clone() for x in variables]
        group["params"] = variables
        if self.cls is torch.optim.Adagrad and group["weight_decay"]:
            _refuse_sparse(gradients)
        if self._foreach_is_exact and _prefers_foreach(group, variables, gradients):
            group["foreach"] = True
        optimizer = object.__new__(self.cls)
        optimizer.__dict__.update(self._prototype.__dict__)
        optimizer.param_groups = [group if self.is_of_torch else dict(group)]
        optimizer.state = defaultdict(dict, zip(variables, rows, strict=True))
        before = {} if self.is_of_torch else dict(optimizer.__dict__)
        try:
            for variable, gradient in zip(variables, gradients, strict=True):
                variable.grad = gradient
            _protect_gradients(group, variables)
            optimizer.step()
        finally:
            for variable in variables:
                variable.grad = None
        if not self.is_of_torch:
            _check_state_is_per_parameter(optimizer, before, group)
        for variable, original in zip(variables, given, strict=True):
            if variable is not original:
                original.copy_(variable)
        return [optimizer.state[variable] for variable in variables]


def _prefers_foreach(
    group: dict[str, Any], variables: Sequence[Tensor], gradients: Sequence[Tensor]
) -> bool:
    return (
        group.get("foreach") is None
        and not group.get("fused")
        and sum(map(Tensor.numel, variables)) <= _SMALL * len(variables)
        and not hold_tensors({**group, "params": None})
        and all(type(v) is Tensor and v.is_cpu and v.dtype in _SAME_BITS_DTYPES for v in variables)
        and not any(gradient.is_sparse for gradient in gradients)
    )


def _refuse_sparse(gradients: Sequence[Tensor]) -> None:
    if any(gradient.is_sparse for gradient in gradients):
        raise ValueError(
            "Adagrad takes no weight_decay with sparse gradients, and got one; set weight_decay=0 "
            "for the parameters that have them."
        )


def _protect_gradients(group: dict[str, Any], variables: Sequence[Tensor]) -> None:
    """Copy gradients where torch's kernels would write to them or misread their strides."""
    if group.get("nesterov") and group.get("foreach") is not False:
        for variable in variables:
            variable.grad = None if variable.grad is None else variable.grad.clone()
    if group.get("fused"):
        for variable in variables:
            gradient = variable.grad
            if gradient is not None and gradient.stride() != variable.stride():
                variable.grad = torch.empty_like(variable).copy_(gradient)


def _check_state_is_per_parameter(
    optimizer: torch.optim.Optimizer, before: dict[str, Any], group: dict[str, Any]
) -> None:
    """Raise TypeError if a step has written elsewhere than to the state of its parameters."""
    kept = None
    if len(optimizer.state) > len(group["params"]):
        kept = "state that belongs to no parameter"
    elif changed := _changed(group, optimizer.param_groups[0]):
        kept = f"state in its parameter group ({changed})"
    elif changed := _changed(_with_class(before, type(optimizer)), optimizer.__dict__, new=False):
        kept = f"state in its own attributes ({changed})"
    if kept is not None:
        raise TypeError(
            f"functional_optimizer cannot use {type(optimizer).__name__}: it keeps {kept}, which "
            "would be lost; only `self.state[parameter]` is handed from step to step."
        )


def _with_class(own: dict[str, Any], cls: type) -> dict[str, Any]:
    """Return the attributes of an object, with those of its class that it may change for itself."""
    return {**{name: value for name, value in vars(cls).items() if not callable(value)}, **own}


def _changed(before: dict[str, Any], after: dict[str, Any], new: bool = True) -> str:
    """Return the names that have other values than before; `new` ones, too, if they count."""
    names = [
        name
        for name, value in after.items()
        if name not in _OF_TORCH and (name in before or new) and not _same(before.get(name), value)
    ]
    return ", ".join(map(repr, names))


def _same(x: Any, y: Any) -> bool:
    return x is y or (isinstance(x, _COMPARED) and isinstance(y, _COMPARED) and x == y)
