"""Tree arithmetic on JAX arrays against optax.tree and jax.flatten_util, traced and not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.tree
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

import pax_tree

CASES = settings(max_examples=25, deadline=None)
LEAVES = st.tuples(
    st.sampled_from([(), (2, 3)]),
    st.sampled_from(["float32", "bfloat16", "int32", "complex64"]),
)
FORMS = st.recursive(
    st.one_of(st.none(), LEAVES.map(lambda form: [form])),
    lambda trees: st.one_of(
        st.lists(trees, max_size=3), st.dictionaries(st.sampled_from("ab"), trees, max_size=2)
    ),
    max_leaves=5,
)


def is_form(node):
    return isinstance(node, list) and len(node) == 1 and isinstance(node[0], tuple)


def make(forms, seed):
    generator = np.random.default_rng(seed)

    def leaf(form):
        (shape, dtype), imaginary = form[0], 0
        if dtype == "complex64":
            imaginary = 1j * generator.integers(-4, 5, shape)
        return jnp.asarray(generator.integers(-4, 5, shape) + imaginary, dtype)

    return jax.tree.map(leaf, forms, is_leaf=is_form)


def as_floating(leaf):
    return leaf / 1 if jnp.issubdtype(leaf.dtype, jnp.integer) else leaf


def check(ours, theirs, rtol=1e-6):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for got, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        got, expected = jnp.asarray(got), jnp.asarray(expected)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got.astype(complex), expected.astype(complex), rtol)


@CASES
@given(FORMS, st.integers(0, 9), st.sampled_from([0.5, 2, jnp.float32(3)]))
@pytest.mark.filterwarnings("ignore:Casting complex values")
def test_against_optax(forms, seed, number):
    a, b = make(forms, seed), make(forms, seed + 1)
    check(pax_tree.tree_add(a, b), optax.tree.add(a, b))
    check(pax_tree.tree_subtract(a, b), optax.tree.sub(a, b))
    check(pax_tree.tree_neg(a), jax.tree.map(jnp.negative, a))
    check(pax_tree.tree_scale(number, a), optax.tree.scale(number, a))
    check(pax_tree.tree_zeros_like(a), optax.tree.zeros_like(a))
    check(pax_tree.tree_sum(a), optax.tree.sum(a), 1e-2)
    x, y = jax.tree.map(as_floating, (a, b))  # in which optax would let integers overflow
    check(pax_tree.tree_dot(a, b), optax.tree.vdot(x, y), 1e-2)
    check(pax_tree.tree_norm_sq(a), optax.tree.norm(x, squared=True), 1e-2)
    assert pax_tree.tree_numel(a) == optax.tree.size(a)
    added = jax.tree.map(lambda x, y: x + number * y, a, b)
    check(pax_tree.tree_add(a, b, number), added)


@CASES
@given(FORMS, st.integers(0, 9))
def test_ravel_against_ravel_pytree(forms, seed):
    tree = make(forms, seed)
    flat, unravel = pax_tree.tree_ravel(tree, library=jnp)
    expected, _ = ravel_pytree(tree)
    check(flat, expected)
    check(unravel(flat), tree)
    check(jax.jit(unravel)(flat), tree)
    if jax.tree.leaves(tree):
        check(pax_tree.tree_ravel(tree)[0], expected)


def test_ravel_of_numbers_and_numpy_arrays():
    tree = {"a": 2.5, "b": [3, True], "c": np.ones(2, np.float16), "d": jnp.ones(1)}
    flat, unravel = pax_tree.tree_ravel(tree)
    expected, theirs = ravel_pytree(tree)
    check(flat, expected)
    check(unravel(2 * flat), theirs(2 * expected))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(unravel(flat)))


PARAMS = {"w": jnp.array([[1.0, 2.0], [3.0, 4.0]]), "b": [jnp.array(5.0), None]}
FUNCTIONS = {
    "sum": (lambda t: pax_tree.tree_sum(t) ** 2, lambda t: optax.tree.sum(t) ** 2),
    "norm": (pax_tree.tree_norm, optax.tree.norm),
    "norm_sq": (pax_tree.tree_norm_sq, lambda t: optax.tree.norm(t, squared=True)),
    "dot": (lambda t: pax_tree.tree_dot(t, t), lambda t: optax.tree.vdot(t, t)),
    "ravel": (
        lambda t: (pax_tree.tree_ravel(t)[0] ** 3).sum(),
        lambda t: (ravel_pytree(t)[0] ** 3).sum(),
    ),
    "unravel": (
        lambda t: unraveled(pax_tree.tree_ravel, t),
        lambda t: unraveled(ravel_pytree, t),
    ),
    "linear": (
        lambda t: pax_tree.tree_norm(pax_tree.tree_add(pax_tree.tree_scale(2.0, t), t, -0.5)),
        lambda t: optax.tree.norm(optax.tree.scale(1.5, t)),
    ),
}


def unraveled(ravel, tree):
    flat, unravel = ravel(tree)
    back = unravel(flat * flat)
    return (back["w"] ** 2).sum() + back["b"][0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_under_transformations(name):
    ours, theirs = FUNCTIONS[name]
    check(jax.jit(ours)(PARAMS), jax.jit(theirs)(PARAMS), 1e-5)
    check(jax.grad(ours)(PARAMS), jax.jit(jax.grad(theirs))(PARAMS), 1e-5)
    check(jax.jit(jax.hessian(ours))(PARAMS), jax.jit(jax.hessian(theirs))(PARAMS), 1e-4)
    many = jax.tree.map(lambda x: jnp.stack([x, 2 * x, -x]), PARAMS)
    check(jax.vmap(ours)(many), jax.jit(jax.vmap(theirs))(many), 1e-5)
    tangents = pax_tree.tree_scale(0.1, PARAMS)
    check(jax.jvp(ours, (PARAMS,), (tangents,)), jax.jvp(theirs, (PARAMS,), (tangents,)), 1e-5)


def test_x64_and_weak_types():
    with jax.enable_x64(True):
        flat, unravel = pax_tree.tree_ravel([jnp.ones(2, "float64"), jnp.ones(1, "int32"), 1.0])
        check(flat, ravel_pytree([jnp.ones(2, "float64"), jnp.ones(1, "int32"), 1.0])[0])
        assert [x.dtype.name for x in unravel(flat)] == ["float64", "int32", "float64"]
    half = [jnp.ones(2, jnp.bfloat16)]
    assert pax_tree.tree_scale(0.5, half)[0].dtype == jnp.bfloat16
    assert pax_tree.tree_add(half, half, 0.1)[0].dtype == jnp.bfloat16


def test_shapes_only():
    shapes = {"a": jax.ShapeDtypeStruct((2, 3), "float32"), "b": jax.ShapeDtypeStruct((), "int8")}
    assert pax_tree.tree_numel(shapes) == 7
    check(pax_tree.tree_zeros_like(shapes), {"a": jnp.zeros((2, 3)), "b": jnp.zeros((), "int8")})
    out = jax.eval_shape(lambda t: pax_tree.tree_ravel(t)[0], shapes)
    assert (out.shape, out.dtype) == ((7,), jnp.float32)
