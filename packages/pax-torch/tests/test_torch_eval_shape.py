"""eval_shape against the shapes of what is computed."""
# ruff: noqa: E731

import numpy as np
import pytest
import torch
from torch import nn

import pax_torch as pax

X = torch.zeros(4, 3)


def described(tree):
    return pax.tree_map(
        lambda x: pax.ShapeDtypeStruct(tuple(torch.as_tensor(x).shape), torch.as_tensor(x).dtype),
        tree,
    )


def step():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout())
    forward, params, buffers = pax.functional_module(net), pax.get_params(net), pax.get_buffers(net)
    optimizer = pax.functional_optimizer(torch.optim.Adam)

    def run(params, state, x):
        f = lambda params: (
            (result := forward(params, x, buffers=buffers))[0].sum(), result[1]
        )  # fmt: skip
        (value, new), grads = pax.value_and_grad(f, has_aux=True)(params)
        return value, new, optimizer.step(params, grads, state)

    return run, params, optimizer.init(params)


RUN, PARAMS, STATE = step()
FUNCTIONS = {
    "numbers": (lambda x, n: {"out": x * n, "n": n, "half": 0.5, "none": None}, (X, 3)),
    "array": (lambda x, a: x * torch.as_tensor(a), (X, np.ones(3))),
    "closure": (lambda x: x @ torch.ones(3, 5), (X,)),
    "grad": (pax.grad(lambda x: x.sin().sum()), (X,)),
    "hessian": (pax.hessian(lambda x: x.sin().sum()), (X,)),
    "jacfwd": (pax.jacfwd(lambda x: x[0]), (X,)),
    "vmap": (pax.vmap(lambda x: x.sum()), (X,)),
    "checkpoint": (pax.grad(pax.checkpoint(lambda x: x.sin().sum())), (X,)),
    "jit": (pax.jit(lambda x: x.half(), backend="eager"), (X,)),
    "step": (RUN, (PARAMS, STATE, X)),
}


@pytest.mark.parametrize(("function", "args"), FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_shapes_are_those_of_the_result(function, args):
    expected = described(function(*args))
    assert pax.eval_shape(function, *args) == expected
    structs = pax.tree_map(lambda x: described(x) if isinstance(x, torch.Tensor) else x, args)
    assert pax.eval_shape(function, *structs) == expected


def test_inside_other_transforms():
    def f(x):
        struct = pax.eval_shape(lambda x: x[:2], x)
        return (x * struct.size * struct.ndim).sum()

    torch.testing.assert_close(pax.grad(f)(X[:, 0]), torch.full((4,), 2.0))
    torch.testing.assert_close(pax.vmap(pax.grad(f))(X), torch.full((4, 3), 2.0))
    torch.testing.assert_close(pax.jit(f, backend="eager")(X[0] + 1), torch.tensor(6.0))


def test_nothing_is_computed_or_kept():
    huge = pax.ShapeDtypeStruct((10**9, 10**6), torch.float64)
    weight = torch.ones(3, requires_grad=True)
    found = pax.eval_shape(lambda x: (x.T @ x, weight * 2), huge)
    assert found[0].shape == (10**6, 10**6)
    assert weight.grad is None


def test_errors():
    with pytest.raises(TypeError, match=r"eval_shape runs the function on tensors without values"):
        pax.eval_shape(lambda x: x if x.sum() > 0 else -x, X)
    with pytest.raises(TypeError, match=r"the result\['a'\]: expected a tensor"):
        pax.eval_shape(lambda x: {"a": "text"}, X)
    with pytest.raises(TypeError, match="eval_shape expected a callable"):
        pax.eval_shape(X)
