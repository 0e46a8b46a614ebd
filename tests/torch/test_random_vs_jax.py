"""pax_torch.random draws the bits of jax.random."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pax_torch import random

seeds = st.integers(-(2**63), 2**63 - 1)
# A few, since JAX compiles for each.
shapes = st.sampled_from([(), (0,), (1,), (7,), (2, 3), (3, 0, 2), (2, 1, 5)])
huge = st.floats(-1, 1, width=16).map(lambda x: x * 1e308)
FLOATS = ["bfloat16", "float16", "float32", "float64"]
HALVES = FLOATS[:2]
INTEGERS = [f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")]
# How far a function of floating-point numbers may be off, in units of the last place.
ULPS = 64


@pytest.fixture(autouse=True, scope="module")
def wide_types():
    """JAX draws 64-bit numbers only where they are enabled; keys are made as without them."""
    with jax.enable_x64(True):
        yield


def both(seed):
    ours = random.key(seed)
    return ours, jax.random.wrap_key_data(jnp.asarray(ours.numpy()))


def as_numpy(x):
    if isinstance(x, torch.Tensor):
        return x.double().numpy() if x.dtype is torch.bfloat16 else x.numpy()
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return np.asarray(jax.random.key_data(x))
    return np.asarray(x.astype(float) if x.dtype == jnp.bfloat16 else x)


def assert_same(ours, theirs):
    ours, theirs = as_numpy(ours), as_numpy(theirs)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def assert_near(ours, theirs):
    eps = float(jnp.finfo(theirs.dtype).eps)
    ours, theirs = as_numpy(ours), as_numpy(theirs)
    allowed = ULPS * eps * (1 + abs(theirs))
    if theirs.dtype == np.float64:
        # In the tails, what one rounding of the distribution function is of its argument.
        allowed += 2 * eps * np.exp(theirs**2 / 2)
    assert ours.dtype == theirs.dtype
    assert (abs(ours - theirs) <= allowed).all()


def torch_type(dtype):
    return getattr(torch, dtype)


@settings(max_examples=30)
@given(seeds)
def test_key(seed):
    with jax.enable_x64(False):
        assert_same(random.key(seed), jax.random.key(seed))


@settings(max_examples=30)
@given(seeds, shapes)
def test_split(seed, shape):
    ours, theirs = both(seed)
    assert_same(random.split(ours, shape), jax.random.split(theirs, shape))
    assert_same(random.split(ours, 3), jax.random.split(theirs, 3))
    assert_same(random.split(ours), jax.random.split(theirs))


@settings(max_examples=30)
@given(seeds, st.integers(0, 2**32 - 1))
def test_fold_in(seed, data):
    ours, theirs = both(seed)
    assert_same(random.fold_in(ours, data), jax.random.fold_in(theirs, data))


@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=30)
@given(seeds, shapes)
def test_uniform(dtype, seed, shape):
    ours, theirs = both(seed)
    assert_same(
        random.uniform(ours, shape, torch_type(dtype)), jax.random.uniform(theirs, shape, dtype)
    )


@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=30)
@given(seeds, st.floats(-100, 100), st.floats(-100, 100))
def test_uniform_in_a_range(dtype, seed, low, high):
    # XLA takes numbers below the least normal one for zero, which PyTorch does not.
    computed = np.finfo("float64" if dtype == "float64" else "float32")
    least = float(computed.tiny / computed.eps)
    assume(all(x == 0 or abs(x) >= least for x in (low, high, high - low)))
    ours, theirs = both(seed)
    assert_same(
        random.uniform(ours, (500,), torch_type(dtype), low, high),
        jax.random.uniform(theirs, (500,), dtype, low, high),
    )


@settings(max_examples=30)
@given(seeds, huge, huge)
def test_uniform_in_the_widest_ranges(seed, low, high):
    ours, theirs = both(seed)
    for bounds in ((low, high), (0.0, high), (low, np.inf), (0.0, np.inf), (-1.7e308, 1.7e308)):
        assert_same(
            random.uniform(ours, (50,), torch.float64, *bounds),
            jax.random.uniform(theirs, (50,), "float64", *bounds),
        )


@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=30)
@given(seeds, shapes)
def test_normal(dtype, seed, shape):
    ours, theirs = both(seed)
    for sizes in (shape, (200,)):
        drawn = random.normal(ours, sizes, torch_type(dtype))
        compare = assert_same if dtype == "bfloat16" else assert_near
        compare(drawn, jax.random.normal(theirs, sizes, dtype))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@settings(max_examples=30)
@given(seeds)
def test_complex_normal(dtype, seed):
    ours, theirs = both(seed)
    drawn = random.normal(ours, (50,), torch_type(dtype))
    assert_near(drawn, jax.random.normal(theirs, (50,), dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=30)
@given(seeds, st.floats(-4, 4), st.floats(0.01, 3))
def test_truncated_normal(dtype, seed, lower, width):
    ours, theirs = both(seed)
    bounds = lower, lower + width
    drawn = random.truncated_normal(ours, *bounds, (50,), torch_type(dtype))
    expected = jax.random.truncated_normal(theirs, *bounds, (50,), dtype)
    # Far from 0, a last place of the distribution function is many of its argument.
    np.testing.assert_allclose(as_numpy(drawn), as_numpy(expected), rtol=2e-2)
    assert lower < drawn.double().min()
    assert drawn.double().max() < np.nextafter(np.asarray(bounds[1], dtype), np.inf)


@pytest.mark.parametrize(("dtype", "ulps"), [("bfloat16", 0), ("float16", 16)])
@settings(max_examples=30)
@given(seeds, st.floats(-2, 1), st.floats(0.1, 1))
def test_truncated_normal_of_half_precision(dtype, ulps, seed, lower, width):
    ours, theirs = both(seed)
    bounds = np.asarray([lower, lower + width], jnp.dtype(dtype)).astype(float).tolist()
    drawn = random.truncated_normal(ours, *bounds, (200,), torch_type(dtype))
    expected = jax.random.truncated_normal(theirs, *bounds, (200,), dtype)
    # In half precision XLA does not round between two operations. It has no subnormal numbers.
    atol = ulps * float(jnp.finfo(dtype).eps) + float(jnp.finfo(dtype).tiny)
    np.testing.assert_allclose(as_numpy(drawn), as_numpy(expected), rtol=0, atol=atol)
    assert bounds[0] < drawn.min()
    assert drawn.max() < bounds[1]


@pytest.mark.parametrize("dtype", INTEGERS)
@settings(max_examples=30)
@given(seeds, st.data())
def test_randint(dtype, seed, data):
    info = np.iinfo(dtype)
    low = data.draw(st.integers(info.min, min(info.max, 2**63 - 1)))
    high = data.draw(st.integers(info.min, min(info.max + 1, 2**63 - 1)))
    ours, theirs = both(seed)
    assert_same(
        random.randint(ours, (40,), low, high, torch_type(dtype)),
        jax.random.randint(theirs, (40,), low, high, dtype),
    )


@pytest.mark.parametrize("dtype", INTEGERS)
def test_randint_over_the_whole_type(dtype):
    info = np.iinfo(dtype)
    ours, theirs = both(3)
    for high in {min(info.max, 2**63 - 1), min(info.max + 1, 2**63 - 1)}:
        assert_same(
            random.randint(ours, (100,), info.min, high, torch_type(dtype)),
            jax.random.randint(theirs, (100,), info.min, high, dtype),
        )


@pytest.mark.parametrize("dtype", INTEGERS)
def test_randint_at_the_ends(dtype):
    info = np.iinfo(dtype)
    ours, theirs = both(5)
    ends = {info.min, info.min + 1, 0, info.max - 1, info.max, info.max + 1}
    ends = {min(end, 2**63 - 1) for end in ends}
    for low, high in itertools.product(ends, ends):
        assert_same(
            random.randint(ours, (4,), low, high, torch_type(dtype)),
            jax.random.randint(theirs, (4,), low, high, dtype),
        )


@settings(max_examples=30)
@given(seeds, st.lists(st.integers(-50, 50), min_size=3, max_size=3))
def test_randint_with_bounds_by_place(seed, low):
    ours, theirs = both(seed)
    assert_same(
        random.randint(ours, (2, 3), torch.tensor(low), 10),
        jax.random.randint(theirs, (2, 3), jnp.asarray(low), 10, "int32"),
    )


@settings(max_examples=30)
@given(seeds, shapes, st.floats(0, 1, width=32))
def test_bernoulli(seed, shape, p):
    ours, theirs = both(seed)
    assert_same(
        random.bernoulli(ours, p, shape), jax.random.bernoulli(theirs, jnp.float32(p), shape)
    )
    for dtype in ("float16", "float64"):
        probabilities = np.full((4, 1), p, dtype)
        assert_same(
            random.bernoulli(ours, torch.tensor(probabilities), (4, 3)),
            jax.random.bernoulli(theirs, jnp.asarray(probabilities), (4, 3)),
        )


def test_sizes_and_arrays_that_jax_takes():
    ours, theirs = both(1)
    assert_same(random.split(ours, np.int64(3)), jax.random.split(theirs, np.int64(3)))
    assert_same(random.normal(ours, 3, torch.bfloat16), jax.random.normal(theirs, 3, "bfloat16"))
    assert_same(random.uniform(ours, np.int32(3)), jax.random.uniform(theirs, 3, "float32"))
    assert_same(random.randint(ours, 3, 0, 9), jax.random.randint(theirs, 3, 0, 9, "int32"))
    assert_same(random.bernoulli(ours, 0.3, 9), jax.random.bernoulli(theirs, jnp.float32(0.3), 9))
    for x in (np.arange(12.0).reshape(4, 3), np.int64(7), np.array(5)):
        assert_same(random.permutation(ours, x), jax.random.permutation(theirs, x))


@settings(max_examples=30)
@given(seeds, st.sampled_from([0, 1, 2, 17, 300]))
def test_permutation_of_integers(seed, size):
    ours, theirs = both(seed)
    assert_same(random.permutation(ours, size), jax.random.permutation(theirs, size))


@pytest.mark.parametrize("independent", [False, True])
@settings(max_examples=30)
@given(seeds, st.sampled_from([(5,), (0,), (3, 4), (2, 3, 2), (1, 0)]), st.data())
def test_permutation_of_a_tensor(independent, seed, shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    ours, theirs = both(seed)
    x = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    assert_same(
        random.permutation(ours, torch.tensor(x), axis, independent),
        jax.random.permutation(theirs, jnp.asarray(x), axis, independent=independent),
    )


@settings(max_examples=30)
@given(seeds, st.data())
def test_categorical(seed, data):
    shape = data.draw(st.sampled_from([(4,), (3, 2), (2, 4, 3)]))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    draws = data.draw(st.sampled_from([(), (2,), (1, 2)]))
    logits = np.random.default_rng(seed % 2**32).normal(size=shape).astype(np.float32)
    ours, theirs = both(seed)
    sizes = (*draws, *np.delete(shape, axis).tolist())
    arguments = {"axis": axis, "shape": sizes}
    assert_same(
        random.categorical(ours, torch.tensor(logits), **arguments),
        jax.random.categorical(theirs, jnp.asarray(logits), **arguments),
    )
    if np.prod(draws) <= shape[axis]:
        assert_same(
            random.categorical(ours, torch.tensor(logits), replace=False, **arguments),
            jax.random.categorical(theirs, jnp.asarray(logits), replace=False, **arguments).astype(
                "int64"
            ),
        )


@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=30)
@given(seeds, st.lists(st.sampled_from([0.0, 1.0, -np.inf]), min_size=5, max_size=5))
def test_categories_that_tie(dtype, seed, logits):
    ours, theirs = both(seed)
    logits = np.asarray(logits, jnp.dtype(dtype))
    tensor = torch.tensor(logits.astype(float)).to(torch_type(dtype))
    for replace, shape in ((False, (5,)), (False, (2,)), (True, (50,))):
        drawn = random.categorical(ours, tensor, shape=shape, replace=replace)
        expected = jax.random.categorical(theirs, jnp.asarray(logits), shape=shape, replace=replace)
        assert_same(drawn, expected.astype("int64"))


def test_many_numbers():
    """Enough for every branch of the inverse error function, and several rounds of sorting."""
    ours, theirs = both(0)
    size = 100_000
    assert_near(random.normal(ours, (size,)), jax.random.normal(theirs, (size,), "float32"))
    assert_same(random.permutation(ours, size), jax.random.permutation(theirs, size))
