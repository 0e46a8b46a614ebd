"""Messages that say what to do about usual mistakes."""

import pytest
import torch

import pax_torch as pax

NET = torch.nn.Linear(2, 1)
ONES = torch.ones(2)
MISTAKES = {
    "module for parameters": (
        lambda: pax.functional_optimizer(torch.optim.Adam, lr=0.1).init(NET),
        r"params: .* got Linear\(.* of type Linear; give get_params\(module\), its parameters\.",
    ),
    "text in jit": (
        lambda: pax.jit(lambda x, how: x, backend="eager")(ONES, "sum"),
        r"argument 1: .* got 'sum' of type str; .* name the argument in static_argnums\.",
    ),
    "number of item": (
        lambda: pax.grad(lambda x: x.sum().item())(ONES),
        r"returned 2.0 of type float; return the tensor itself, without \.item\(\) or float\(\)\.",
    ),
    "pair without has_aux": (
        lambda: pax.grad(lambda x: (x.sum(), 1))(ONES),
        r"of type tuple; for a pair \(value, aux\) pass has_aux=True\.",
    ),
    "vector": (
        lambda: pax.grad(lambda x: x * 2)(ONES),
        r"shape \(2,\) .*; take its sum or mean, or all its derivatives by jacrev\.",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_messages_name_the_remedy(mistake):
    call, message = MISTAKES[mistake]
    with pytest.raises(TypeError, match=message):
        call()


GENERATOR = torch.Generator()


def noisy(x, generator=GENERATOR):
    return x + torch.rand(2, generator=generator)


@pytest.mark.parametrize(
    "call",
    [
        lambda: pax.jit(noisy, backend="eager")(ONES),
        lambda: pax.jit(noisy, backend="eager")(ONES, GENERATOR),
        lambda: pax.jit(noisy, static_argnums=1, backend="eager")(ONES, GENERATOR),
    ],
    ids=["closed over", "argument", "static"],
)
def test_generators_in_jit(call):
    with pytest.raises(
        (TypeError, ValueError), match=r"torch\.Generator, .*; draw from a key with"
    ):
        call()
