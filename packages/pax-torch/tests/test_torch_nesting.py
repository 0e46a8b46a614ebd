"""Transforms nest in any order: each against the derivatives of a polynomial."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import Polynomial
from torch.autograd import forward_ad

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


def _knows_inference_mode():
    """Whether torch.func differentiates in inference mode; before PyTorch 2.12 its derivatives are zero there."""
    with torch.inference_mode():
        return bool(torch.func.grad(lambda x: x**2)(torch.tensor(1.0)))


# Each mode without gradients, and the transforms that are right in it.
MODES = [(torch.no_grad, name) for name in TRANSFORMS] + [
    (torch.inference_mode, name)
    for name in TRANSFORMS
    if _knows_inference_mode() or name not in ("func.grad", "func.jvp")
]


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


GRADS = {
    "pax": lambda f: pax.grad(f),
    "func": lambda f: torch.func.grad(f),
    "autograd": lambda f: lambda x: torch.autograd.grad(f(x.requires_grad_()), x)[0],
}


@pytest.mark.parametrize("grad", GRADS.values(), ids=GRADS.keys())
@pytest.mark.parametrize(
    ("mode", "name"), [*MODES, (torch.no_grad, "hessian"), (torch.inference_mode, "hessian")]
)
def test_no_derivative_of_what_runs_without_gradients(name, mode, grad):
    transform = {name: transform for name, (transform, _) in TRANSFORMS.items()}
    transform["hessian"] = lambda f: pax.hessian(lambda x: f(x).sum())
    function = lambda x: x**5 + 3 * x  # noqa: E731

    def f(x):
        with mode():
            inner = transform[name](function)(x)
        return inner.clone().sum() * (x**2).sum()

    value = transform[name](function)(X).sum()
    torch.testing.assert_close(grad(f)(X.clone()), value * 2 * X)


@pytest.mark.parametrize(("mode", "name"), MODES)
def test_derivatives_without_gradients_around_them(name, mode):
    with mode():
        check([name, "grad"], "plain")
        check(["jvp", name], "plain")


def derivatives_of(library):
    """Derivatives of the function, and of one that closes over its argument."""
    return {
        "grad": library.grad(lambda x: plain(x).sum()),
        "value": lambda x: library.grad_and_value(lambda x: plain(x).sum())(x)[1],
        "grad grad": library.grad(lambda x: library.grad(lambda x: plain(x).sum())(x).sum()),
        "closed over": lambda w: library.grad(lambda x: (x * w.sin()).sum())(X),
        "value closed over": lambda w: library.grad_and_value(lambda x: (x * w).sum())(X)[1],
        "vjp": lambda x: library.vjp(plain, x)[1](x)[0],
        "jacrev": lambda x: library.jacrev(plain)(x),
        "vmap grad": library.vmap(library.grad(plain)),
        "vmap vjp": library.vmap(lambda x: library.vjp(plain, x)[1](x)[0]),
    }


class Pax:
    """The names of `torch.func`."""

    grad, vjp, jacrev, vmap = pax.grad, pax.vjp, pax.jacrev, pax.vmap

    @staticmethod
    def grad_and_value(f):
        return lambda x: pax.value_and_grad(f)(x)[::-1]


@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr:UserWarning")  # linearize
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("name", derivatives_of(torch.func))
def test_within_forward_mode_of_pytorch(name, requires_grad):
    found, expected = derivatives_of(Pax)[name], derivatives_of(torch.func)[name]
    if name != "jacrev":  # which torch.func.linearize gets wrong, also as torch.func's own
        torch.testing.assert_close(
            torch.func.linearize(found, X)[1](X), torch.func.jvp(expected, (X,), (X,))[1]
        )
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(X.clone().requires_grad_(requires_grad), X)
        results = [forward_ad.unpack_dual(f(dual)) for f in (found, expected)]
    assert not results[0].primal.requires_grad or "vmap" in name
    torch.testing.assert_close(*[tuple(r) for r in results])


def test_argument_handed_out_of_a_nested_derivative_may_be_written_to():
    def outer(w):
        h = w * 2
        (_, aux), _ = pax.value_and_grad(lambda h: ((h**2).sum(), h), has_aux=True)(h)
        h.add_(1)
        return (aux * w).sum()

    torch.testing.assert_close(pax.grad(outer)(torch.ones(2)), torch.full((2,), 5.0))
