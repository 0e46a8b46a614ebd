"""pax_torch.random: pure functions of the key, under vmap and torch.compile, and their errors.

That the numbers are those of JAX is tested where both packages are.
"""

import math

import pytest
import torch

import pax_torch as pax
from pax_torch import random
from pax_torch.random._rounding import INTEGERS, next_above, next_below

KEY = random.key(0)

DRAWS = {
    "bernoulli": lambda key: random.bernoulli(key, 0.3, (4, 3)),
    "categorical": lambda key: random.categorical(key, torch.zeros(5, 3), 0, (2, 3)),
    "categorical-without": lambda key: random.categorical(
        key, torch.zeros(5), shape=(3,), replace=False
    ),
    "fold_in": lambda key: random.fold_in(key, 7),
    "normal": lambda key: random.normal(key, (4, 3)),
    "normal-complex": lambda key: random.normal(key, (4,), torch.complex64),
    "permutation": lambda key: random.permutation(key, 11),
    "permutation-tensor": lambda key: random.permutation(key, torch.arange(6).view(2, 3), 1),
    "permutation-rows": lambda key: random.permutation(
        key, torch.arange(6).view(2, 3), 1, independent=True
    ),
    "randint": lambda key: random.randint(key, (4,), -3, 9),
    "randint-64": lambda key: random.randint(key, (4,), -(2**62), 2**62, torch.int64),
    "split": lambda key: random.split(key, (2, 3)),
    "truncated_normal": lambda key: random.truncated_normal(key, -1.0, 0.5, (7,)),
    "uniform": lambda key: random.uniform(key, (5,), minval=-1.0, maxval=3.0),
    "uniform-64": lambda key: random.uniform(key, (5,), torch.float64, minval=-1.0, maxval=3.0),
    "uniform-bf16": lambda key: random.uniform(key, (5,), torch.bfloat16),
}

HALF, MANY = torch.full((3,), 0.5), torch.full((3,), 20.0)
DISTRIBUTIONS = {
    "ball": (3,),
    "beta": (HALF, MANY),
    "binomial": (MANY, HALF),
    "bits": ((3,),),
    "cauchy": ((3,),),
    "chisquare": (HALF,),
    "choice": (torch.arange(3.0), (9,), True, HALF),
    "dirichlet": (HALF,),
    "double_sided_maxwell": (HALF, 2.0),
    "exponential": ((3,),),
    "f": (HALF, MANY),
    "gamma": (HALF,),
    "generalized_normal": (HALF,),
    "geometric": (HALF / 100,),
    "gumbel": ((3,),),
    "laplace": ((3,),),
    "loggamma": (HALF,),
    "logistic": ((3,),),
    "lognormal": (HALF,),
    "maxwell": ((3,),),
    "multinomial": (100, HALF),
    "multivariate_normal": (HALF, torch.eye(3)),
    "orthogonal": (3,),
    "pareto": (HALF,),
    "poisson": (MANY,),
    "rademacher": ((40,),),
    "rayleigh": (HALF,),
    "t": (HALF,),
    "triangular": (0.0, HALF, 1.0),
    "wald": (HALF,),
    "weibull_min": (HALF, MANY),
}


@pytest.fixture(params=DRAWS.values(), ids=DRAWS.keys())
def draw(request):
    return request.param


def assert_same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_numbers_known_from_jax():
    """As `jax.random` draws them, in versions that split keys by place."""
    assert random.split(KEY).tolist() == [[1797259609, 2579123966], [928981903, 3453687069]]
    assert random.randint(KEY, (3,), 0, 10).tolist() == [9, 0, 2]
    assert random.permutation(KEY, 5).tolist() == [0, 1, 4, 3, 2]


def test_every_function_has_a_case():
    names = {name.partition("-")[0] for name in DRAWS} | {"key"} | DISTRIBUTIONS.keys()
    assert names == set(random.__all__)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions_are_functions_of_the_key(name):
    function, args = getattr(random, name), DISTRIBUTIONS[name]
    first, before = function(KEY, *args), torch.random.get_rng_state()
    assert_same(function(KEY, *args), first)
    assert_same(torch.random.get_rng_state(), before)
    assert not torch.equal(function(random.key(1), *args), first)
    if first.is_floating_point() and name not in ("choice", "maxwell", "multinomial", "binomial"):
        with pytest.raises((TypeError, ValueError), match=r"torch\.int8|dtype"):
            function(KEY, *args, dtype=torch.int8)


def test_is_a_function_of_the_key(draw):
    before = KEY.clone()
    first = draw(KEY)
    torch.manual_seed(1)
    torch.rand(3)
    assert_same(draw(KEY), first)
    assert_same(KEY, before)
    assert not torch.equal(draw(random.key(1)), first) or first.dtype is torch.bool


def test_leaves_torchs_generator_alone(draw):
    before = torch.random.get_rng_state()
    draw(KEY)
    assert_same(torch.random.get_rng_state(), before)


def test_vmap_is_a_loop(draw):
    keys = random.split(KEY, 4)
    assert_same(pax.vmap(draw)(keys), torch.stack([draw(key) for key in keys]))
    nested = pax.vmap(pax.vmap(draw))(keys.reshape(2, 2, 2))
    assert_same(nested.flatten(0, 1), pax.vmap(draw)(keys))


def test_compiled(draw):
    compiled = torch.compile(draw, fullgraph=True, backend="eager")
    assert_same(compiled(KEY), draw(KEY))


HALF_DRAWS = {
    "categorical": lambda key, dtype: random.categorical(
        key, torch.linspace(-1, 1, 20, dtype=dtype), shape=(500,)
    ),
    "normal": lambda key, dtype: random.normal(key, (500,), dtype),
    "truncated_normal": lambda key, dtype: random.truncated_normal(
        key, -1.3, torch.tensor(0.7), (500,), dtype
    ),
    "uniform": lambda key, dtype: random.uniform(key, (500,), dtype),
    "uniform-range": lambda key, dtype: random.uniform(key, (500,), dtype, torch.tensor(-0.1), 2.3),
}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_compiled_by_inductor(dtype):
    """Which computes in single precision, where rounding between two operations gets lost."""
    draws = lambda key: {name: draw(key, dtype) for name, draw in HALF_DRAWS.items()}  # noqa: E731
    # The compiler's own threshold for GPUs; with that for CPUs it takes six times as long.
    options = {"realize_opcount_threshold": 30}
    assert_same(pax.jit(draws, options=options)(KEY), draws(KEY))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_next_numbers(dtype):
    info = torch.finfo(dtype)
    positive = [0.0, info.smallest_normal, 0.3, 1.0, 1.5, info.max, math.inf, math.nan]
    x = torch.tensor([*positive, *(-number for number in positive)], dtype=dtype)
    for ours, to in ((next_above, math.inf), (next_below, -math.inf)):
        expected = torch.nextafter(x, torch.full_like(x, to))
        torch.testing.assert_close(ours(x), expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_gradient_by_the_bounds_of_each_precision(dtype):
    low, high = torch.tensor(-1.0, dtype=dtype), torch.tensor(3.0, dtype=dtype)
    sample = lambda low, high: random.uniform(KEY, (), dtype, low, high)  # noqa: E731
    by_low, by_high = pax.grad(sample, argnums=(0, 1))(low, high)
    share = random.uniform(KEY, (), dtype)
    assert_same((by_low, by_high), (1 - share, share))


def test_tensors_in_place_of_integers():
    assert_same(random.key(torch.tensor(42)), random.key(42))
    assert_same(random.fold_in(KEY, torch.tensor(3)), random.fold_in(KEY, 3))
    keys = pax.vmap(random.key)(torch.arange(3))
    assert_same(keys, torch.stack([random.key(i) for i in range(3)]))
    steps = pax.vmap(random.fold_in, (None, 0))(KEY, torch.arange(3))
    assert_same(steps, torch.stack([random.fold_in(KEY, i) for i in range(3)]))


def test_gradient_of_a_sample():
    """By the bounds, which is what a sampled layer is trained by."""

    def sample(low, high):
        return random.uniform(KEY, (100,), torch.float64, low, high).sum()

    by_low, by_high = pax.grad(sample, argnums=(0, 1))(
        *torch.tensor([0.0, 1.0], dtype=torch.float64)
    )
    share = random.uniform(KEY, (100,), torch.float64).sum()
    torch.testing.assert_close(by_high, share)
    torch.testing.assert_close(by_low, 100 - share)


SIZE = 20_000


@pytest.mark.parametrize(
    ("numbers", "mean", "deviation"),
    [
        (random.uniform(KEY, (SIZE,)), 0.5, 1 / 12**0.5),
        (random.normal(KEY, (SIZE,)), 0.0, 1.0),
        (random.randint(KEY, (SIZE,), 0, 10).float(), 4.5, 8.25**0.5),
        (random.bernoulli(KEY, 0.3, (SIZE,)).float(), 0.3, 0.21**0.5),
        (random.truncated_normal(KEY, -1.0, 1.0, (SIZE,)), 0.0, 0.5396),
    ],
    ids=["uniform", "normal", "randint", "bernoulli", "truncated_normal"],
)
def test_mean_and_deviation(numbers, mean, deviation):
    assert abs(numbers.mean() - mean) < 5 * deviation / math.sqrt(SIZE)
    assert abs(numbers.std() / deviation - 1) < 0.05


def test_probabilities_of_categories():
    logits = torch.tensor([0.1, 0.2, 0.7]).log()
    drawn = random.categorical(KEY, logits, shape=(SIZE,))
    torch.testing.assert_close(drawn.bincount() / SIZE, logits.exp(), atol=0.02, rtol=0)


def test_permutation_keeps_everything():
    assert random.permutation(KEY, 1000).sort().values.tolist() == list(range(1000))
    rows = random.permutation(KEY, torch.arange(12).view(3, 4), 0)
    assert sorted(rows[:, 0].tolist()) == [0, 4, 8]
    assert all(row.tolist() == list(range(row[0], row[0] + 4)) for row in rows)


def test_defaults():
    assert random.uniform(KEY).shape == ()
    with torch.device("meta"):
        assert random.key(1).device.type == "meta"
        for draw in DRAWS.values():
            draw(random.key(1))
    assert random.uniform(random.key(1, device="meta"), (3,)).device.type == "meta"


class TestErrors:
    @pytest.mark.parametrize(
        "key", [0, torch.zeros(2), random.split(KEY), torch.tensor([0, 1])], ids=repr
    )
    def test_no_key(self, key):
        for draw in DRAWS.values():
            with pytest.raises(TypeError, match=r"expected one key, a tensor of shape \(2,\)"):
                draw(key)

    def test_seed(self):
        with pytest.raises(TypeError, match=r"key expected seed to be an integer, got 1\.5"):
            random.key(1.5)
        with pytest.raises(ValueError, match="seed must be from -9223372036854775808"):
            random.key(2**63)

    def test_data(self):
        with pytest.raises(ValueError, match="fold_in: data must be from 0 to 4294967295, got -1"):
            random.fold_in(KEY, -1)

    def test_shape(self):
        with pytest.raises(TypeError, match="uniform expected a shape, a sequence of integers"):
            random.uniform(KEY, 3.0)
        with pytest.raises(TypeError, match="normal expected a shape, a sequence of integers"):
            random.normal(KEY, "3")
        with pytest.raises(ValueError, match="a shape has no negative sizes"):
            random.uniform(KEY, (-1,))
        with pytest.raises(ValueError, match=r"argument of shape \(3,\) does not broadcast to \(2"):
            random.uniform(KEY, (2,), minval=torch.zeros(3))

    def test_dtype(self):
        with pytest.raises(TypeError, match=r"uniform draws .*got torch\.int32"):
            random.uniform(KEY, (2,), torch.int32)
        with pytest.raises(TypeError, match=r"randint draws .*got torch\.float32"):
            random.randint(KEY, (2,), 0, 1, torch.float32)

    def test_bounds(self):
        with pytest.raises(TypeError, match=r"randint expected integers as bounds, got 0\.5"):
            random.randint(KEY, (2,), 0.5, 3)

    def test_logits(self):
        with pytest.raises(TypeError, match="categorical expected logits as a floating-point"):
            random.categorical(KEY, torch.tensor([1, 2]))
        with pytest.raises(ValueError, match=r"shape must end in \(2,\).* got \(3,\)"):
            random.categorical(KEY, torch.zeros(2, 4), shape=(3,))
        with pytest.raises(ValueError, match="cannot draw 5 of 4 categories without replacement"):
            random.categorical(KEY, torch.zeros(4), shape=(5,), replace=False)


@pytest.mark.parametrize(
    ("bounds", "name"),
    [
        ((0, 2**64), "maxval"),
        ((-(2**63) - 1, 0), "minval"),
        ((0, torch.tensor(2**63 + 1, dtype=torch.uint64)), "maxval"),
    ],
)
def test_bounds_of_too_many_bits(bounds, name):
    with pytest.raises(ValueError, match=rf"at most 63 bits and a sign, .* got .* as {name}"):
        pax.random.randint(pax.random.key(0), (2,), *bounds, torch.uint64)
