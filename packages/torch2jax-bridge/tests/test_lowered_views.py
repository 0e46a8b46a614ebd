"""Views and writes in place, in any order, with and without gradients: lowered as PyTorch does them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from torch2jax_bridge import torch2jax

VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "transposed": lambda x: x.mT,
    "row": lambda x: x[1:],
    "column": lambda x: x[:, :1],
    "every other": lambda x: x[::2],
    "diagonal": lambda x: x.diagonal()[:, None],
    "unbound": lambda x: x.unbind(0)[0][None],
    "split": lambda x: x.split(2)[0],
    "reversed": lambda x: x.permute(1, 0),
    "viewed": lambda x: x.view_as(x),
    "detached": lambda x: x.detach(),
    "data": lambda x: x.data,
    "copied": lambda x: x.clone(),
    "computed": lambda x: x.sin(),
}


def _set(x: torch.Tensor, y: torch.Tensor) -> None:
    x[0] = y.mean()


WRITES: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "add": lambda x, y: x.add_(y.mean()),
    "scale": lambda x, y: x.mul_(0.7),
    "square": lambda x, y: x.mul_(x),
    "fill": lambda x, y: x.fill_(0.3),
    "set": _set,
    "relu": lambda x, y: torch.nn.functional.relu(x, inplace=True),
    "copy": lambda x, y: x.copy_(x.flip(0) * 2),
    "mask": lambda x, y: x.masked_fill_(x > 0, -1.0),
    "out": lambda x, y: torch.mul(x, 3, out=x),
    "list": lambda x, y: torch._foreach_mul_([x], 1.1),
    "data": lambda x, y: x.data.add_(y.data.mean()),
    "moving": lambda x, y: x.data.mul_(y.mean()),
}


class Step:
    """A view of one of the tensors, or a write into one with another one."""

    def __init__(self, name: str, first: int, second: int, gradients: bool) -> None:
        self.name, self.first, self.second, self.gradients = name, first, second, gradients

    def __repr__(self) -> str:
        return f"Step{self.name, self.first, self.second, self.gradients}"

    def do(self, tensors: list[torch.Tensor]) -> None:
        x, y = tensors[self.first % len(tensors)], tensors[self.second % len(tensors)]
        kind, _, name = self.name.partition(" ")
        with torch.set_grad_enabled(self.gradients):
            if kind == "view":
                tensors.append(VIEWS[name](x))
            else:
                WRITES[name](x, y)


STEPS = st.builds(
    Step,
    st.sampled_from([*(f"view {name}" for name in VIEWS), *(f"write {name}" for name in WRITES)]),
    st.integers(0, 4),
    st.integers(0, 4),
    st.booleans(),
)


def _function(steps: list[Step]) -> Callable[[torch.Tensor], list[torch.Tensor]]:
    def function(x: torch.Tensor) -> list[torch.Tensor]:
        tensors = [x * 1.0]
        for step in steps:
            step.do(tensors)
        return [tensor.clone() for tensor in tensors]

    return function


@example(
    [Step("view detached", 0, 0, True), Step("view row", 1, 0, True), Step("write set", 2, 0, True)]
)
@example([Step("write square", 0, 0, True), Step("view transposed", 0, 0, False)])
@example([Step("view row", 0, 0, True), Step("write relu", 1, 0, False)])
@example([Step("write list", 0, 0, False), Step("view diagonal", 0, 0, True)])
@example([Step("view detached", 0, 0, True), Step("write add", 1, 0, True)])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(STEPS, min_size=2, max_size=6))
def test_views_and_writes_equal_pytorch(steps):
    function = _function(steps)
    x = torch.linspace(-1, 1.3, 12).reshape(4, 3).requires_grad_()
    try:
        outs = function(x)
        total = sum((out.sin() * (i + 1)).sum() for i, out in enumerate(outs))
        (expected,) = torch.autograd.grad(total, x)
    except (RuntimeError, IndexError):  # PyTorch refuses it
        return
    lowered = torch2jax(function, backend="xla")

    def loss(x):
        found = lowered(x)
        return sum((jnp.sin(out) * (i + 1)).sum() for i, out in enumerate(found)), found

    little = {"xla_backend_optimization_level": 0}
    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=little)
    (_, found), gradient = compiled(jnp.asarray(x.detach().numpy()))
    for ours, theirs in zip(found, outs, strict=True):
        np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "view",
    [lambda x: x[1:], lambda x: x.t(), lambda x: x[0].expand(2, 3)],
    ids=["slice", "transposed", "expanded"],
)
def test_strides_of_views_are_refused(view):
    f = torch2jax(lambda x: view(x).as_strided((2,), (1,), 1), backend="xla")
    with pytest.raises(TypeError, match="memory is in another order"):
        f(np.ones((2, 3), np.float32))
