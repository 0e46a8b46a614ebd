"""Transforms nest in any order: each against the derivatives of a polynomial."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import Polynomial

import pax_torch as pax

X = torch.linspace(-1, 2, 4, dtype=torch.float64)
POINT = Polynomial([0, 1])

# Each transform of a function that acts on every element alone, and what it does to a polynomial.
TRANSFORMS = {
    "grad": (lambda f: pax.grad(lambda x: f(x).sum()), lambda p: p.deriv()),
    "jvp": (lambda f: lambda x: pax.jvp(f, (x,), (x,))[1], lambda p: p.deriv() * POINT),
    "vjp": (lambda f: lambda x: pax.vjp(f, x)[1](x)[0], lambda p: p.deriv() * POINT),
    "linearize": (lambda f: lambda x: pax.linearize(f, x)[1](x), lambda p: p.deriv() * POINT),
    "jacfwd": (lambda f: lambda x: pax.jacfwd(f)(x).sum(0), lambda p: p.deriv()),
    "jacrev": (lambda f: lambda x: pax.jacrev(f)(x).sum(0), lambda p: p.deriv()),
    "hvp": (
        lambda f: lambda x: pax.hvp(lambda x: f(x).sum(), (x,), (x,)),
        lambda p: p.deriv(2) * POINT,
    ),
    "vmap": (lambda f: lambda x: pax.vmap(f)(torch.stack([x, x]))[1], lambda p: p),
    "func.grad": (lambda f: torch.func.grad(lambda x: f(x).sum()), lambda p: p.deriv()),
    "func.jvp": (
        lambda f: lambda x: torch.func.jvp(f, (x,), (x,))[1],
        lambda p: p.deriv() * POINT,
    ),
    "func.vmap": (lambda f: lambda x: torch.func.vmap(f)(torch.stack([x, x]))[1], lambda p: p),
}


def plain(x):
    return x**5 + x**2


def with_jvp():
    f = pax.custom_jvp(plain)
    f.defjvp(lambda p, t: (f(*p), (5 * p[0] ** 4 + 2 * p[0]) * t[0]))
    return f


def with_jvp_by_jvp():
    f = pax.custom_jvp(plain)
    f.defjvp(lambda p, t: pax.jvp(plain, p, t))
    return f


def with_vjp():
    f = pax.custom_vjp(plain)
    f.defvjp(lambda x: (f(x), (x, 2 * x)), lambda r, g: (g * (5 * r[0] ** 4 + r[1]),))
    return f


def with_vjp_by_vjp():
    f = pax.custom_vjp(plain)
    f.defvjp(lambda x: (f(x), x), lambda x, g: pax.vjp(plain, x)[1](g))
    return f


# The same function, by rules that say how it is differentiated.
FUNCTIONS = {
    "plain": lambda: plain,
    "custom_jvp": with_jvp,
    "custom_jvp by jvp": with_jvp_by_jvp,
    "custom_vjp": with_vjp,
    "custom_vjp by vjp": with_vjp_by_vjp,
}


def check(names, kind):
    function, polynomial = FUNCTIONS[kind](), Polynomial([0, 0, 1, 0, 0, 1])
    for name in names:
        transform, act = TRANSFORMS[name]
        function, polynomial = transform(function), act(polynomial)
    expected = torch.from_numpy(np.asarray(polynomial(X.numpy())))
    torch.testing.assert_close(function(X), expected)


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("names", list(product(TRANSFORMS, repeat=2)), ids=" of ".join)
def test_pairs(names, kind):
    check(reversed(names), kind)


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from(sorted(TRANSFORMS)), min_size=3, max_size=4),
    st.sampled_from(sorted(FUNCTIONS)),
)
def test_longer_chains(names, kind):
    check(names, kind)
