"""Long scans in compiled functions: one operator, with the numbers of the steps."""

import pytest
import torch

import pax_torch as pax
from pax_torch import lax
from pax_torch.lax import _scan

LENGTH = 40
X = torch.linspace(-1, 1, 3 * LENGTH, dtype=torch.float64).reshape(LENGTH, 3)
P = {"w": torch.linspace(0.5, 1, 9, dtype=torch.float64).reshape(3, 3), "s": torch.tensor(0.7)}
tripled = pax.custom_vjp(lambda x: x.sin())
tripled.defvjp(lambda x: (x.sin(), x), lambda x, g: (3 * g * x.cos(),))


def recurrent(p, x):
    """A step with a tree, a counter, a rule of its own and what has no derivative."""

    def step(carry, x):
        h, i = carry["h"], carry["i"]
        h = torch.tanh(h @ p["w"] + x["x"]) * p["s"] + tripled(h) + pax.stop_gradient(h).cos()
        return {"h": h, "i": i + 1}, (h.sum() * i, 2 * i, x["k"])

    xs = {"x": x, "k": torch.arange(LENGTH)}
    carry, (y, _, k) = lax.scan(step, {"h": x[0], "i": 0}, xs, reverse=True)
    return carry["h"].sum() + (y * k).sin().sum()


def inner_derivative(p, x):
    def step(c, x):
        return pax.grad(lambda c: ((c * x).sin() ** 2).sum())(c) * p["s"], c

    return sum(leaf.sum() for leaf in lax.scan(step, x[0], x))


def transposed(p, x):
    def step(c, x):
        return c.T * p["s"] + x, None

    return lax.scan(step, p["w"], x[:, :, None].expand(-1, 3, 3))[0].square().sum()


def mapped(p, x):
    return lax.map(lambda row: (p["w"] @ row).sin().sum(), x).sum()


def without_slices(p, x):
    return lax.scan(lambda c, _: (c.sin() + p["s"], None), x[0], length=LENGTH)[0].sum()


def nested(p, x):
    def step(c, row):
        return lax.scan(lambda d, y: (d * 0.9 + y, None), c, x)[0] * p["s"] / 9 + row, None

    return lax.scan(step, x[0], x)[0].square().sum()


FUNCTIONS = [recurrent, inner_derivative, transposed, mapped, without_slices, nested]
USES = {
    "value": lambda f: f,
    "value_and_grad": lambda f: pax.value_and_grad(f, (0, 1)),
}


def compiled(f, graphs=None):
    """Compile a function without a compiler, and keep the graph."""

    def backend(graph, _):
        if graphs is not None:
            graphs.append(graph)
        return graph

    return pax.jit(f, backend=backend)


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("use", USES)
def test_numbers_are_those_of_the_steps(use, f):
    torch.testing.assert_close(compiled(USES[use](f))(P, X), USES[use](f)(P, X))


def test_programs_do_not_grow_with_the_length():
    sizes = set()
    for length in (100, 2000):
        graphs = []
        x = torch.linspace(0, 1, length)
        compiled(pax.value_and_grad(lambda x: lax.scan(cumulated, x[0], x)[1].sum()), graphs)(x)
        sizes.add(len(graphs[0].graph.nodes))
    assert len(sizes) == 1
    assert max(sizes) < 100


def cumulated(c, x):
    return (c * x).sin(), c


WRITTEN_OUT = {
    "second derivatives": pax.grad(pax.grad(lambda x: lax.scan(cumulated, x, X[:, 0])[0])),
    "vmap": pax.vmap(lambda x: lax.scan(cumulated, x, X[:, 0])[0], axis_size=2, in_axes=None),
    "forward mode": lambda x: pax.jvp(lambda x: lax.scan(cumulated, x, X[:, 0])[0], (x,), (x,)),
}


@pytest.mark.parametrize("use", WRITTEN_OUT)
def test_other_transforms_write_the_steps_out(use):
    f, x = WRITTEN_OUT[use], torch.tensor(0.7, dtype=torch.float64)
    torch.testing.assert_close(compiled(f)(x), f(x))


def test_random_steps_are_written_out():
    def f(x):
        return lax.scan(lambda c, x: (c + torch.rand(()) * x, None), x[0], x)[0]

    (value, grads) = compiled(pax.value_and_grad(f))(torch.ones(LENGTH))
    torch.testing.assert_close(grads.sum(), value)


def test_very_many_steps_written_out_are_warned_of(monkeypatch):
    monkeypatch.setattr(_scan, "_MANY", LENGTH - 1)
    with pytest.warns(UserWarning, match="scan: all 40 steps are compiled one after the other"):
        compiled(lambda x: lax.scan(lambda c, x: (c + torch.rand(()), None), x[0], x)[0])(X[:, 0])
