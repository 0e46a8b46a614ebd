"""Nested derivatives in forward mode, compiled and by their shapes, against those computed."""
# ruff: noqa: E731

import pytest
import torch

import pax_torch as pax

X = torch.tensor([[1.0, 2.0, 0.5], [0.3, -1.0, 4.0]], dtype=torch.float64)
FUNCTIONS = {
    "power": lambda x: (x**5).sum(),
    "product": lambda x: (x.sin() * x).sum(),
    "matrices": lambda x: (x.reshape(3, 1) @ x.reshape(1, 3)).tanh().sum(),
    "norm": lambda x: torch.nn.functional.layer_norm(x, (3,)).pow(3).sum(),
}
NESTS = {
    "vmap hessian": lambda f: pax.vmap(pax.hessian(f)),
    "jacfwd hessian": lambda f: lambda x: pax.jacfwd(pax.hessian(f))(x[0]),
    "vmap jacfwd jacfwd jacfwd": lambda f: pax.vmap(pax.jacfwd(pax.jacfwd(pax.jacfwd(f)))),
    "linearize hessian": lambda f: lambda x: pax.linearize(pax.hessian(f), x[0])[1](x[1]),
    "hessian hessian": lambda f: lambda x: pax.hessian(lambda x: pax.hessian(f)(x).sum())(x[0]),
    "grad vmap hessian": lambda f: pax.grad(lambda x: pax.vmap(pax.hessian(f))(x).sum()),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("nest", NESTS)
def test_values_shapes_and_devices(nest, function):
    f = NESTS[nest](FUNCTIONS[function])
    expected = f(X)
    torch.testing.assert_close(pax.jit(f, backend="eager")(X), expected)
    struct = pax.ShapeDtypeStruct(tuple(expected.shape), expected.dtype, expected.device)
    assert pax.eval_shape(f, X) == struct


@pytest.mark.parametrize("function", FUNCTIONS)
def test_compiled_with_more_than_the_graph(function):
    f = FUNCTIONS[function]
    push = lambda g: lambda x: pax.jvp(g, (x,), (torch.ones_like(x),))[1]
    g = pax.vmap(push(push(pax.grad(f))))
    torch.testing.assert_close(pax.jit(g, backend="aot_eager")(X), g(X))


def written(start, write):
    """A function that writes to an intermediate result."""

    def f(x):
        y = start(x)
        write(y, x)
        return (y * 3).sin().sum()

    return f


@pytest.mark.parametrize(
    "f",
    [
        written(lambda x: x / 3, lambda y, x: y.addcmul_(x, x)),
        written(lambda x: x * 2, lambda y, x: y.add_(x.sin())),
        written(lambda x: x * 2, lambda y, x: y.sub_(x * x)),
        written(lambda x: x * 2, lambda y, x: y[0].mul_(x[1])),
        written(lambda x: x * 2, lambda y, x: y.view(-1)[1:].add_(x.flatten()[1:] ** 3)),
    ],
    ids=["addcmul", "add", "sub", "part", "view"],
)
def test_writing_to_what_had_a_zero_tangent(f):
    push = lambda g: lambda x: pax.jvp(g, (x,), (X + 1,))[1]
    for g in (push(push(f)), push(push(push(f)))):
        torch.testing.assert_close(pax.jit(g, backend="eager")(X), g(X))


@pytest.mark.parametrize("transform", [pax.jacfwd, pax.jacrev, pax.hessian])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_jacobians_compiled_with_more_than_the_graph(function, transform):
    f = FUNCTIONS[function]
    g = transform(lambda tree: f(tree["x"]) * tree["y"].sum())
    tree = {"x": X[0], "y": X[1], "empty": X[:0]}
    torch.testing.assert_close(pax.jit(g, backend="aot_eager")(tree), g(tree))


@pytest.mark.parametrize("power", [0.5, 1.5, 2.5, 3.5])
def test_zero_tangents_times_infinity(power):
    f = pax.jacfwd(pax.jacfwd(pax.grad(lambda x: (x**power).sum())))
    x = torch.zeros(2)
    torch.testing.assert_close(pax.jit(f, backend="eager")(x), f(x), equal_nan=True)


def test_branches_of_torch_have_their_derivative():
    f = lambda x: torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,)).sum()
    x = torch.ones(3)
    torch.testing.assert_close(pax.jit(pax.grad(f), backend="eager")(x), x.cos())
