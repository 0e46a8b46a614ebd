"""Random numbers without a key: every call draws its own, whatever XLA and JAX do to the program."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from torch2jax_bridge import torch2jax
from torch2jax_bridge._runtime.generators import HostDraws
from torch2jax_bridge._torch2jax.reachable import left_as_it_was

N = 2000
ZEROS = jnp.zeros(N)
HELD = np.random.default_rng(0)
HELD_BY_PYTHON = random.Random(0)


def by_torch(x):
    return x + torch.randn_like(x)


def by_numpy(x):
    return x + torch.from_numpy(np.random.standard_normal(x.shape).astype("float32"))


def by_held_generator(x):
    return x + torch.from_numpy(HELD.standard_normal(x.shape).astype("float32"))


def by_python(x):
    return x + torch.tensor([random.gauss(0, 1) for _ in x])


def by_held_random(x):
    return x + torch.tensor([HELD_BY_PYTHON.gauss(0, 1) for _ in x])


SOURCES = [by_torch, by_numpy, by_held_generator, by_python, by_held_random]


def in_cond(f):
    return lambda: jax.lax.cond(True, lambda: f(ZEROS) - f(ZEROS), lambda: ZEROS)


def in_scan(f):
    return lambda: jax.lax.scan(lambda c, _: (c + f(ZEROS), None), ZEROS, length=8)[0]


def in_fori_loop(f):
    return lambda: jax.lax.fori_loop(0, 8, lambda _, c: c + f(ZEROS), ZEROS)


def in_while_loop(f):
    def step(state):
        return state[0] + 1, state[1] + f(ZEROS)

    return lambda: jax.lax.while_loop(lambda s: s[0] < 8, step, (0, ZEROS))[1]


def in_map(f):
    return lambda: jax.lax.map(lambda _: f(ZEROS), jnp.arange(8)).sum(0)


def in_vmap(f):
    return lambda: jax.vmap(lambda _: f(ZEROS))(jnp.arange(8)).sum(0)


def in_mapped_scan(f):
    return lambda: jax.vmap(lambda _: in_scan(f)())(jnp.arange(2)).sum(0)


def in_differentiated_scan(f):
    def loss(scale):
        def step(total, _):
            noise = f(ZEROS)
            return total + scale * noise, noise

        total, noises = jax.lax.scan(step, ZEROS, length=8)
        return total.sum(), noises.sum(0)

    return lambda: jax.grad(loss, has_aux=True)(1.0)[1]


# What is summed, and the variance of the sum.
PROGRAMS = [
    (lambda f: lambda: f(ZEROS) - f(ZEROS), 2),
    (lambda f: lambda: jax.jit(f)(ZEROS) - jax.jit(f)(ZEROS), 2),
    (in_cond, 2),
    (in_scan, 8),
    (in_fori_loop, 8),
    (in_while_loop, 8),
    (in_map, 8),
    (in_vmap, 8),
    (in_mapped_scan, 16),
    (in_differentiated_scan, 8),
]
NAMES = ["two", "jitted", *(p.__name__ for p, _ in PROGRAMS[2:])]


def check_variance(values, expected):
    assert abs(float(values.var()) / expected - 1) < 0.3


@pytest.mark.parametrize(("program", "expected"), PROGRAMS, ids=NAMES)
def test_bridge_every_call_draws_its_own_numbers(program, expected):
    function = torch2jax(by_torch, randomness="different")
    check_variance(jax.jit(program(function))(), expected)


@pytest.mark.parametrize("source", SOURCES, ids=lambda f: f.__name__)
@pytest.mark.parametrize(("program", "expected"), [PROGRAMS[i] for i in (0, 3, 7)])
def test_bridge_every_source_draws_in_every_call(source, program, expected):
    check_variance(jax.jit(program(torch2jax(source, randomness="different")))(), expected)


@pytest.mark.parametrize("place", [0, 3, 4, 9])
def test_bridge_draws_with_given_results(place):
    program, expected = PROGRAMS[place]
    check_variance(jax.jit(program(torch2jax(by_torch, output_shapes=ZEROS)))(), expected)


@pytest.mark.parametrize("place", [0, 3, 7, 9])
@pytest.mark.parametrize("given", [False, True])
def test_bridge_draws_without_arguments(place, given):
    program, expected = PROGRAMS[place]
    options = {"output_shapes": ZEROS} if given else {"randomness": "different"}
    function = torch2jax(lambda: torch.randn(N), **options)
    if not given or place != 7:
        check_variance(jax.jit(program(lambda _: function()))(), expected)


def test_bridge_gradient_with_given_results_refuses_other_numbers():
    masked = torch2jax(lambda x: (x * torch.rand_like(x)).sum(), output_shapes=jnp.float32(0))
    values, pull = jax.vjp(masked, ZEROS + 1)
    np.testing.assert_allclose(pull(jnp.float32(1))[0].sum(), values, rtol=1e-4)
    with pytest.raises(jax.errors.JaxRuntimeError, match="draws random numbers"):
        jax.block_until_ready(jax.jvp(masked, (ZEROS,), (ZEROS,)))


def test_bridge_draws_that_nobody_uses_stay():
    function = torch2jax(by_torch)
    before = torch.get_rng_state()
    jax.block_until_ready(jax.jit(lambda x: (function(x), x)[1])(ZEROS))
    assert not torch.equal(torch.get_rng_state(), before)
    before = torch.get_rng_state()
    loop = jax.jit(lambda x: jax.lax.scan(lambda c, _: (c, function(x)), 0, length=3)[0])
    jax.block_until_ready(loop(ZEROS))
    assert not torch.equal(torch.get_rng_state(), before)


def test_bridge_same_numbers_for_a_batch():
    function = torch2jax(by_torch, randomness="same")
    rows = jax.vmap(lambda _: function(ZEROS))(jnp.arange(3))
    np.testing.assert_allclose(rows - rows[0], 0, atol=1e-6)


@pytest.mark.parametrize("source", SOURCES, ids=lambda f: f.__name__)
def test_bridge_batch_without_randomness_is_refused(source):
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="random"):
        jax.block_until_ready(jax.vmap(torch2jax(source))(jnp.zeros((3, 4))))


def test_bridge_checkpoint_of_what_draws_is_refused():
    function = torch2jax(lambda x: x * torch.rand_like(x))
    with pytest.raises(TypeError, match="draws random numbers"):
        jax.grad(lambda x: jax.checkpoint(function)(x).sum())(ZEROS)


class DrawsByNumPy(torch.nn.Module):
    """Draws from a generator that it holds."""

    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(0)

    def forward(self, x):
        return x * float(self.generator.random())


def test_bridge_key_that_does_not_reach_a_generator_is_refused():
    apply, params, _ = torch2jax(DrawsByNumPy())
    with pytest.raises(TypeError, match=r"which rng= does not seed"):
        apply(params, ZEROS, rng=jax.random.key(0))
    first, second = (apply(params, ZEROS + 1)[0][0] for _ in range(2))
    assert first != second


@pytest.mark.parametrize("source", SOURCES[1:], ids=lambda f: f.__name__)
def test_bridge_inference_draws_nothing(source):
    HELD.bit_generator.state = np.random.default_rng(0).bit_generator.state
    HELD_BY_PYTHON.seed(0)
    np.random.seed(0)
    random.seed(0)
    want = source(torch.zeros(4))
    HELD.bit_generator.state = np.random.default_rng(0).bit_generator.state
    HELD_BY_PYTHON.seed(0)
    np.random.seed(0)
    random.seed(0)
    np.testing.assert_array_equal(torch2jax(source)(jnp.zeros(4)), want)


def test_bridge_generators_that_a_function_holds():
    class Holder:
        def __init__(self):
            self.inner = {"deep": [np.random.RandomState(0)]}

        def draw(self):
            return self.inner["deep"][0].rand()

    holder = Holder()
    for function in (holder.draw, lambda: holder.draw()):
        before = holder.inner["deep"][0].get_state()[2]
        with left_as_it_was(function) as trial, HostDraws(trial.generators) as drawn:
            function()
        assert drawn.seen
        assert holder.inner["deep"][0].get_state()[2] == before
    with left_as_it_was(holder.draw) as trial, HostDraws(trial.generators) as drawn:
        torch.rand(1)
    assert not drawn.seen
