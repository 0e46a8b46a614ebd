"""pax_torch.random draws the numbers of jax.random from all its distributions."""

import jax
import numpy as np
import pytest
import torch

import pax_torch
from pax_torch import random

N = (64,)
A = np.asarray([0.02, 0.3, 1.0, 2.5, 7.0, 60.0, 1e4, 1e-6], np.float32)
P = np.asarray([0.0, 0.001, 0.2, 0.5, 0.7, 0.999, 1.0], np.float32)
LAM = np.asarray([0.0, 0.01, 3.0, 9.9, 10.0, 50.0, 200.0], np.float32)
WEIGHTS = np.asarray([0.1, 0.0, 0.4, 0.2, 0.3], np.float32)
COV = np.asarray([[2.0, 0.3], [0.3, 1.0]], np.float32)
THINGS = np.arange(30.0, dtype=np.float32).reshape(5, 6)

# Functions of uniform bits and integers: equal to the last bit.
EXACT = {
    "bits": ("bits", (N,)),
    "rademacher": ("rademacher", (N,)),
    "bernoulli, high": ("bernoulli", (np.float32(0.01), (500,), "high")),
    "choice": ("choice", (10, N)),
    "choice of rows": ("choice", (THINGS, (2, 3))),
    "choice of columns": ("choice", (THINGS, (4,), False, None, 1)),
    "choice of one": ("choice", (THINGS,)),
    "choice of nothing": ("choice", (10, (0, 2))),
    "choice without replacement": ("choice", (50, (20,), False)),
    "weighted choice": ("choice", (5, N, True, WEIGHTS)),
    "weighted choice of rows": ("choice", (THINGS, (3,), True, WEIGHTS)),
    "weighted choice without replacement": ("choice", (5, (3,), False, WEIGHTS)),
    "weighted choice, high": ("choice", (5, (3,), False, WEIGHTS, 0, "high")),
    "geometric": ("geometric", (P, (50, 7))),
    "poisson": ("poisson", (LAM, (20, 7))),
    "poisson of NaN": ("poisson", (np.float32(np.nan), (3,))),
    "binomial": ("binomial", (np.float32(9), P, (50, 7))),
    "binomial of many": ("binomial", (np.float32(5000), P, (50, 7))),
    "binomial of what is none": (
        "binomial",
        (np.float32([np.nan, -1, np.inf, 3, 3]), np.float32([0.5, 0.5, 0.2, np.nan, 1.5])),
    ),
    "multinomial": ("multinomial", (np.float32(100), WEIGHTS)),
}
NEAR = {
    "exponential": ("exponential", (N,)),
    "gumbel": ("gumbel", (N,)),
    "gumbel, high": ("gumbel", (N, None, "high")),
    "laplace": ("laplace", (N,)),
    "logistic": ("logistic", (N,)),
    "cauchy": ("cauchy", (N,)),
    "pareto": ("pareto", (np.float32(2.0), N)),
    "rayleigh": ("rayleigh", (np.float32(2.0), N)),
    "weibull_min": ("weibull_min", (np.float32(2.0), np.float32(0.7), N)),
    "triangular": ("triangular", (np.float32(-1), np.float32(0.5), np.float32(2), N)),
    "lognormal": ("lognormal", (np.float32(0.5), N)),
    "maxwell": ("maxwell", (N,)),
    "double_sided_maxwell": ("double_sided_maxwell", (np.float32(1), np.float32(2), N)),
    "wald": ("wald", (A[1:5], (50, 4))),
    "gamma": ("gamma", (A, (50, 8))),
    "loggamma": ("loggamma", (A, (50, 8))),
    "beta": ("beta", (A, A[::-1].copy(), (20, 8))),
    "dirichlet": ("dirichlet", (A[:5], (20,))),
    "dirichlet of rows": ("dirichlet", (A.reshape(2, 4),)),
    "chisquare": ("chisquare", (A, (20, 8))),
    "f": ("f", (A[1:6], A[2:7])),
    "t": ("t", (A[1:7], (20, 6))),
    "generalized_normal": ("generalized_normal", (np.float32(3), N)),
    "ball": ("ball", (3, np.float32(1.5), (20,))),
    "orthogonal": ("orthogonal", (4, (2,))),
    "orthogonal rows": ("orthogonal", (2, (), None, 3)),
    "multivariate_normal": ("multivariate_normal", (np.float32([1, 2]), COV, N)),
    "multivariate_normal of no matrix": ("multivariate_normal", (np.float32([1, 2]), -COV)),
}


def keys(seed):
    ours = random.key(seed)
    return ours, jax.random.wrap_key_data(jax.numpy.asarray(ours.numpy()))


def ours_of(name, key, args):
    tensors = [torch.as_tensor(x) if isinstance(x, np.ndarray | np.generic) else x for x in args]
    return getattr(random, name)(key, *tensors)


def both(case, seed):
    name, args = case
    key, jax_key = keys(seed)
    drawn, expected = ours_of(name, key, args), getattr(jax.random, name)(jax_key, *args)
    assert tuple(drawn.shape) == expected.shape
    return drawn.numpy(), np.asarray(expected)


@pytest.mark.parametrize("name", EXACT)
def test_what_is_equal_to_the_bit(name):
    for seed in range(2):
        drawn, expected = both(EXACT[name], seed)
        np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("name", NEAR)
def test_what_is_equal_to_rounding(name):
    for seed in range(2):
        np.testing.assert_allclose(*both(NEAR[name], seed), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", ["gamma", "poisson", "binomial of many"])
def test_in_double_precision(name):
    function, args = {**NEAR, **EXACT}[name]
    wide = [x.astype(float) if isinstance(x, np.ndarray) else x for x in args]
    wide += [np.float64] if name == "gamma" else []
    with jax.enable_x64(True):
        key, jax_key = keys(1)
        expected = np.asarray(getattr(jax.random, function)(jax_key, *wide))
    given = [torch.float64 if x is np.float64 else x for x in wide]
    drawn = ours_of(function, key, given).numpy()
    np.testing.assert_allclose(drawn, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bits", [8, 16, 64])
def test_bits_of_other_widths(bits):
    with jax.enable_x64(True):
        key, jax_key = keys(3)
        expected = np.asarray(jax.random.bits(jax_key, N, f"uint{bits}"))
    drawn = random.bits(key, N, getattr(torch, f"uint{bits}"))
    np.testing.assert_array_equal(drawn.numpy(), expected)


@pytest.mark.parametrize("name", ["gamma", "dirichlet"])
def test_derivatives(name):
    key, jax_key = keys(2)
    weights = np.asarray([1.0, -2.0, 3.0], np.float32)
    drawn = pax_torch.grad(
        lambda a: (getattr(random, name)(key, a) * torch.as_tensor(weights)).sum()
    )
    expected = jax.grad(lambda a: (getattr(jax.random, name)(jax_key, a) * weights).sum())
    found, right = drawn(torch.as_tensor(A[2:5])), expected(A[2:5])
    np.testing.assert_allclose(found.numpy(), np.asarray(right), rtol=1e-3, atol=1e-5)


SOME = {
    name: case
    for name, case in {**EXACT, **NEAR}.items()
    if name not in ("choice of nothing", "multivariate_normal of no matrix")
}


@pytest.mark.parametrize("name", SOME)
def test_vmap_draws_what_a_loop_does(name):
    function, args = SOME[name]
    many = random.split(random.key(5), 3)
    mapped = pax_torch.vmap(lambda key: ours_of(function, key, args))(many)
    one_by_one = torch.stack([ours_of(function, key, args) for key in many])
    torch.testing.assert_close(mapped, one_by_one, equal_nan=True, rtol=1e-5, atol=1e-6)


def test_jit_draws_the_same():
    names = ["bits", "weighted choice", "weighted choice without replacement", "logistic"]
    cases = [SOME[name] for name in (*names, "orthogonal", "multivariate_normal")]

    def draw(key):
        return [ours_of(function, key, args) for function, args in cases]

    key = random.key(4)
    compiled = pax_torch.jit(draw, backend="eager")(key)
    torch.testing.assert_close(compiled, draw(key), rtol=1e-5, atol=1e-6)


def test_half_precision_is_single_precision_rounded():
    key = random.key(0)
    half = random.gamma(key, 2.5, N, torch.bfloat16)
    assert torch.equal(half, random.gamma(key, 2.5, N).bfloat16())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda k: random.gumbel(k, N, None, "highest"),
            ValueError,
            "'low', 'high', got 'highest'",
        ),
        (lambda k: random.bits(k, N, torch.int32), TypeError, "bits draws torch.uint8"),
        (lambda k: random.rademacher(k, N, torch.uint8), TypeError, "has -1, got torch.uint8"),
        (lambda k: random.poisson(k, 1.0, N, torch.float32), TypeError, "integer type"),
        (lambda k: random.choice(k, 3, (4,), False), ValueError, "4 of 3 things without"),
        (lambda k: random.choice(k, 0, (4,)), ValueError, "4 of 0 things"),
        (lambda k: random.choice(k, 3, (4,), p=[0.5]), ValueError, "each of 3 things, got"),
        (lambda k: random.gamma(k, torch.ones(3), (2,)), ValueError, "does not broadcast"),
        (lambda k: random.dirichlet(k, 1.0), ValueError, "alpha of shape"),
        (lambda k: random.multinomial(k, 3, 0.5), ValueError, "axis of outcomes"),
        (lambda k: random.orthogonal(k, -1), ValueError, "n must not be negative"),
        (lambda k: random.orthogonal(k, 1.5), TypeError, "n must be an integer"),
        (
            lambda k: random.multivariate_normal(k, torch.zeros(2), torch.eye(3)),
            ValueError,
            r"got \(2,\) and \(3, 3\)",
        ),
        (
            lambda k: pax_torch.hessian(lambda a: random.gamma(k, a))(2.0),
            RuntimeError,
            "none of second order",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(random.key(0))
