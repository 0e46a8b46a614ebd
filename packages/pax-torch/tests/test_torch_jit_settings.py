"""jit beside what PyTorch keeps for a whole thread: random numbers, autocast, default types."""
# ruff: noqa: E731

import contextlib

import pytest
import torch
from torch import nn

import pax_torch as pax

# Compiling takes seconds; what is compiled is the same graph that "eager" runs.
jit = lambda f, *args, **kwargs: pax.jit(f, *args, backend="eager", **kwargs)
X = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)


def same(tree, other):
    torch.testing.assert_close(tree, other)


def test_random_numbers_are_drawn_in_every_call():
    g = jit(lambda x: torch.rand_like(x))
    assert not torch.equal(g(X), g(X))


BFLOAT16 = lambda: torch.autocast("cpu", dtype=torch.bfloat16)


def test_autocast_is_part_of_the_program():
    weight = nn.Parameter(torch.randn(3, 3))

    def f(x):
        with torch.autocast("cpu", enabled=False):
            y = x @ x
        return x @ weight, y

    g, x = jit(f), torch.randn(3, 3)
    for context in (BFLOAT16, contextlib.nullcontext, BFLOAT16):
        with context():
            same(g(x), tuple(y.detach() for y in f(x)))
            same(g(x), tuple(y.detach() for y in f(x)))


@pytest.mark.parametrize("backward", [contextlib.nullcontext, BFLOAT16], ids=["off", "on"])
def test_derivatives_under_autocast(backward):
    weight = torch.randn(4, 4)

    def f(x):
        return ((x @ weight).softmax(0) @ weight).square()

    def run(f, x):
        x = x.clone().requires_grad_()
        with BFLOAT16():
            out = f(x)
        with backward():
            (gradient,) = torch.autograd.grad(out.sum(), x)
        with BFLOAT16():
            return out.detach(), gradient, pax.grad(lambda x: f(x).sum())(x)

    x = torch.randn(4, 4)
    same(run(jit(f), x), run(f, x))


def test_defaults_are_part_of_the_program():
    g = jit(lambda x: torch.ones(3))
    before = torch.get_default_dtype()
    for dtype in (torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        try:
            assert g(X).dtype == dtype
        finally:
            torch.set_default_dtype(before)
    with torch.device("meta"):
        assert g(X).device.type == "meta"
    assert g(X).device.type == "cpu"


def linear_and_random(x):
    first, second = torch.rand_like(x), torch.rand_like(x)
    third = torch.multinomial(torch.ones(x.numel()), x.numel(), True).view_as(x)
    return (torch.dropout(x, 0.5, True) * second * third).sum(), first


@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_derivatives_have_the_random_numbers_of_the_values(backend):
    f = pax.jit(linear_and_random, backend=backend)
    x = torch.ones(8, 8)
    torch.manual_seed(0)
    (value, _), gradient = pax.value_and_grad(f, has_aux=True)(x)
    after = torch.rand(1)
    same(gradient.sum(), value)
    if backend != "inductor":
        torch.manual_seed(0)
        same(pax.grad(linear_and_random, has_aux=True)(x)[0], gradient)
        same(torch.rand(1), after)


def test_second_derivatives_have_the_random_numbers_of_the_values():
    x = torch.ones(64, requires_grad=True)
    value = jit(lambda x: torch.dropout(x, 0.5, True).square().sum())(x)
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    same((first.sum(), second.sum()), (2 * value, 2 * value))


def test_a_program_that_fails_is_not_run_again():
    runs = []

    def backend(graph, examples):
        def run(*tensors):
            runs.append(graph(*tensors))
            if len(runs) > 1:
                raise RuntimeError("out of something")
            return runs[-1]

        return run

    f = pax.jit(lambda x: x + torch.rand(1), backend=backend)
    f(torch.zeros(1))
    with pytest.raises(RuntimeError):  # that of the backend, or what torch.compile makes of it
        f(torch.zeros(1))
    assert len(runs) == 2


def test_jit_works_where_the_flags_of_backends_may_not_be_set(monkeypatch):
    monkeypatch.setattr("torch.backends.__allow_nonbracketed_mutation_flag", False)
    same(pax.jit(torch.sin, backend="eager")(torch.ones(2)), torch.ones(2).sin())


def test_a_compiler_may_not_exchange_draws_that_a_derivative_repeats():
    def backend(graph, examples):
        return lambda *tensors: graph(*tensors)

    draws = {
        "one kind": lambda x: torch.rand_like(x) * torch.dropout(x, 0.5, True),
        "two kinds": lambda x: torch.rand_like(x) * torch.poisson(torch.ones_like(x)) * x,
        "twice": lambda x: (
            torch.poisson(torch.ones_like(x)) * torch.poisson(torch.ones_like(x)) * x
        ),
    }
    runs = dict.fromkeys(draws, 0)
    for kind, f in draws.items():

        def counted(x, kind=kind, f=f):
            runs[kind] += 1
            return f(x).sum()

        g = pax.value_and_grad(pax.jit(counted, backend=backend))
        for _ in range(3):
            value, gradient = g(torch.ones(64))
            same(gradient.sum(), value)
    # What runs as it is runs in Python in each call, after the trace that found it so.
    assert runs == {"one kind": 2, "two kinds": 4, "twice": 4}


@pytest.mark.parametrize("p", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_dropout_drops_so_many(p, dtype):
    x = torch.ones(10_000, dtype=dtype)
    f = pax.jit(lambda x: torch.dropout(x, p, True), backend=lambda graph, examples: graph)
    assert abs((f(x) == 0).double().mean().item() - p) < 0.02


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, {"realize_opcount_threshold": 30}),
        (
            {"options": {"max_autotune": False}},
            {"realize_opcount_threshold": 30, "max_autotune": False},
        ),
        ({"options": {"realize_opcount_threshold": 7}}, {"realize_opcount_threshold": 7}),
        ({"mode": "max-autotune"}, None),
        ({"backend": "eager"}, None),
    ],
)
def test_programs_that_draw_from_keys_are_compiled_with_fewer_repeats(monkeypatch, given, options):
    seen = []
    monkeypatch.setattr(torch, "compile", lambda graph, **kwargs: seen.append(kwargs) or graph)
    key = pax.random.key(0)
    assert pax.jit(pax.random.uniform, **given)(key).equal(pax.random.uniform(key))
    pax.jit(torch.sin, **given)(torch.ones(2))
    drawn, other = seen
    assert drawn == {
        "fullgraph": True,
        "dynamic": None,
        **given,
        **({"options": options} if options else {}),
    }
    assert other == {"fullgraph": True, "dynamic": None, **given}
