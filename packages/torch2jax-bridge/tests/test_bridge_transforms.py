"""Every transformation of a wrapped function against the same function written in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from torch2jax_bridge import torch2jax


def product(xp, x, y):
    return (x * xp.sin(y)).sum()


def vector(xp, x, y):
    return xp.tanh(x) * y + x * x * xp.exp(-y)


def matrix(xp, x, y):
    return xp.sin(x[:, None] * y[None, :]) @ xp.cos(x)


def several(xp, x, y):
    return {"sum": (x + y * y * x), "norm": (x * x).sum() * y[0]}


def jacobian_vector(f, x, y):
    return jax.jvp(f, (x, y), (y, x))


def along(f, direction):
    return lambda x: jax.jvp(f, (x,), (direction,))[1]


def vector_jacobian(f, x, y):
    out, pull = jax.vjp(f, x, y)
    return pull(jax.tree.map(jnp.cos, out))


def scalar(f):
    return lambda *args: sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(f(*args)))


def scan(f, x, y):
    def step(carry, z):
        return carry * 0.5 + scalar(f)(carry, z) * z, f(carry, z)

    return jax.lax.scan(step, x, jnp.stack([y, 2 * y, 3 * y]))


def while_loop(f, x, y):
    """As often as the values say: the sum grows by one at least in each round."""

    def body(carry):
        count, z = carry
        return count + 1, z + 0.1 * scalar(f)(z, y) + 1

    return jax.lax.while_loop(lambda carry: carry[1].sum() < 9, body, (jnp.int32(0), x))[1]


def linearized(f, x, y):
    out, push = jax.linearize(f, x, y)
    return out, push(y, x), push(x, x)


BATCH = jnp.linspace(0.5, 1.5, 4)[:, None]

TRANSFORMS = {
    "call": lambda f, x, y: f(x, y),
    "jit": lambda f, x, y: jax.jit(f)(x, y),
    "jvp": jacobian_vector,
    "vjp": vector_jacobian,
    "linearize": linearized,
    "grad": lambda f, x, y: jax.grad(scalar(f), (0, 1))(x, y),
    "jit_grad": lambda f, x, y: jax.jit(jax.grad(scalar(f), (0, 1)))(x, y),
    "grad_of_one": lambda f, x, y: jax.grad(scalar(f), 1)(x, y),
    "jacfwd": lambda f, x, y: jax.jacfwd(f, (0, 1))(x, y),
    "jacrev": lambda f, x, y: jax.jacrev(f, (0, 1))(x, y),
    "hessian": lambda f, x, y: jax.hessian(f, (0, 1))(x, y),
    "jit_hessian": lambda f, x, y: jax.jit(jax.hessian(f))(x, y),
    "forward_forward": lambda f, x, y: jax.jacfwd(jax.jacfwd(f))(x, y),
    "reverse_reverse": lambda f, x, y: jax.jacrev(jax.jacrev(f))(x, y),
    "reverse_forward": lambda f, x, y: jax.jacrev(jax.jacfwd(f))(x, y),
    "forward_reverse": lambda f, x, y: jax.jit(jax.jacfwd(jax.jacrev(f, 1)))(x, y),
    "third": lambda f, x, y: jax.jacfwd(jax.jacrev(jax.jacrev(f)))(x, y),
    "fourth": lambda f, x, y: jax.jit(
        along(along(along(jax.grad(lambda x: scalar(f)(x, y)), y), x), y)
    )(x),
    "vmap": lambda f, x, y: jax.vmap(f)(BATCH * x, BATCH * y),
    "vmap_one": lambda f, x, y: jax.vmap(f, (None, 0))(x, BATCH * y),
    "vmap_last": lambda f, x, y: jax.vmap(f, (1, 0))((BATCH * x).T, BATCH * y),
    "vmap_nested": lambda f, x, y: jax.vmap(jax.vmap(f, (0, None)), (None, 0))(
        BATCH * x, BATCH * y
    ),
    "vmap_of_grad": lambda f, x, y: jax.vmap(jax.grad(scalar(f)), (0, None))(BATCH * x, y),
    "vmap_of_hessian": lambda f, x, y: jax.vmap(jax.hessian(f), (0, None))(BATCH * x, y),
    "grad_of_vmap": lambda f, x, y: jax.grad(scalar(jax.vmap(f, (0, None))), (0, 1))(BATCH * x, y),
    "hessian_of_vmap": lambda f, x, y: jax.hessian(scalar(jax.vmap(f, (0, None))), 1)(BATCH * x, y),
    "scan": scan,
    "grad_of_scan": lambda f, x, y: jax.grad(lambda *a: scan(f, *a)[0].sum(), (0, 1))(x, y),
    "jvp_of_scan": lambda f, x, y: jax.jvp(lambda *a: scan(f, *a)[0], (x, y), (y, x)),
    "checkpoint": lambda f, x, y: jax.jit(jax.grad(scalar(jax.checkpoint(f)), (0, 1)))(x, y),
    "checkpoint_in_scan": lambda f, x, y: jax.grad(
        lambda *a: scan(jax.checkpoint(f), *a)[0].sum(), (0, 1)
    )(x, y),
    "cond": lambda f, x, y: jax.jit(
        lambda x, y: jax.lax.cond(x[0] > 0, f, lambda x, y: f(y, x), x, y)
    )(x, y),
    "while_loop": lambda f, x, y: while_loop(f, x, y),
    "jvp_of_while_loop": lambda f, x, y: jax.jvp(lambda *a: while_loop(f, *a), (x, y), (y, x)),
    "fori_loop": lambda f, x, y: jax.lax.fori_loop(0, 3, lambda _, c: c + scalar(f)(c, y), x),
    "map": lambda f, x, y: jax.lax.map(lambda z: f(z, y), BATCH * x),
    "eval_shape": lambda f, x, y: jax.tree.map(
        lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(f, x, y)
    ),
}


def compare(got, want, rtol):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol)


CASES = [
    pytest.param(function, dtype, id=f"{function.__name__}-{jnp.dtype(dtype).name}")
    for function in (product, vector, matrix, several)
    for dtype in (jnp.float32, jnp.float64)
]


@pytest.mark.parametrize(("function", "dtype"), CASES)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_bridge_transform_equals_jax(name, function, dtype, record_property):
    record_property("transform", name)
    with jax.enable_x64(dtype is jnp.float64):
        x, y = jnp.array([0.3, -0.7, 1.1], dtype), jnp.array([0.9, 0.2, -0.4], dtype)
        wrapped = torch2jax(lambda x, y: function(torch, x, y))
        got = TRANSFORMS[name](wrapped, x, y)
        want = TRANSFORMS[name](lambda x, y: function(jnp, x, y), x, y)
        compare(got, want, 2e-5 if dtype is jnp.float32 else 1e-11)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform_of_lowered_function_equals_jax(name):
    x, y = jnp.array([0.3, -0.7, 1.1]), jnp.array([0.9, 0.2, -0.4])
    lowered = torch2jax(lambda x, y: several(torch, x, y), backend="xla", strict=True)
    got = TRANSFORMS[name](lowered, x, y)
    compare(got, TRANSFORMS[name](lambda x, y: several(jnp, x, y), x, y), 2e-5)


FLOATS = st.floats(-2.0, 2.0).map(lambda x: round(x, 3))
LEAVES = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=0, max_dims=3, max_side=3), elements=FLOATS
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.sampled_from("abc"), inner, min_size=1)
        | st.tuples(inner, st.none())
    ),
    max_leaves=4,
)


@settings(deadline=None, max_examples=30)
@given(TREES, st.sampled_from(["grad", "jvp", "hessian", "vmap", "jit_grad"]))
def test_bridge_transforms_of_functions_of_any_tree(tree, name):
    def function(xp, tree):
        leaves = jax.tree.leaves(tree)
        return sum((xp.sin(x) * x * (i + 1)).sum() for i, x in enumerate(leaves))

    transform = {
        "grad": lambda f: jax.grad(f)(tree),
        "jit_grad": lambda f: jax.jit(jax.grad(f))(tree),
        "jvp": lambda f: jax.jvp(f, (tree,), (jax.tree.map(np.cos, tree),)),
        "hessian": lambda f: jax.hessian(f)(tree),
        "vmap": lambda f: jax.vmap(f)(jax.tree.map(lambda x: np.stack([x, 2 * x]), tree)),
    }[name]
    with jax.enable_x64(True):
        got = transform(torch2jax(lambda tree: function(torch, tree)))
        compare(got, transform(lambda tree: function(jnp, tree)), 1e-10)


def test_bridge_complex_derivatives_follow_jax():
    def function(xp, z, w):
        return z * z * xp.conj(w) + xp.exp(w)

    z, w = jnp.array([1 + 2j, -0.5j]), jnp.array([0.3 - 1j, 2.0 + 0j])
    wrapped = torch2jax(lambda z, w: function(torch, z, w))
    for transform in (jacobian_vector, vector_jacobian):
        compare(transform(wrapped, z, w), transform(lambda z, w: function(jnp, z, w), z, w), 1e-5)


@pytest.mark.parametrize("transform", [jacobian_vector, vector_jacobian])
def test_bridge_batched_complex_derivatives_follow_jax(transform):
    def function(xp, z, w):
        return z * z * xp.conj(w) + xp.exp(w)

    def batched(f, z, w):
        return jax.vmap(lambda z, w: transform(f, z, w))(z, w)

    z = jnp.array([[1 + 2j, -0.5j], [0.5 + 0j, 2 - 1j]])
    w = jnp.array([[0.3 - 1j, 2.0 + 0j], [1j, -1 + 0.5j]])
    got = batched(torch2jax(lambda z, w: function(torch, z, w)), z, w)
    compare(got, batched(lambda z, w: function(jnp, z, w), z, w), 1e-5)


def test_bridge_real_to_complex_gradient():
    def loss(f):
        return lambda x: jnp.sum(jnp.abs(f(x)) ** 2)

    x = jnp.array([0.5, 1.5, -0.25])
    got = jax.grad(loss(torch2jax(torch.fft.fft)))(x)
    np.testing.assert_allclose(got, jax.grad(loss(jnp.fft.fft))(x), rtol=1e-5)


def test_bridge_integer_arguments_have_float0_tangents():
    wrapped = torch2jax(lambda x, index: (x[index] ** 2, index + 1))
    x, index = jnp.array([1.0, 2.0, 3.0]), jnp.array([2, 0])
    _, pull = jax.vjp(wrapped, x, index)
    zero = np.zeros(2, jax.dtypes.float0)
    gradient, of_index = pull((jnp.ones(2), zero))
    np.testing.assert_allclose(gradient, [2.0, 0.0, 6.0])
    assert of_index.dtype == jax.dtypes.float0
    _, (moved, of_integer) = jax.jvp(wrapped, (x, index), (jnp.ones(3), zero))
    np.testing.assert_allclose(moved, [6.0, 2.0])
    assert of_integer.dtype == jax.dtypes.float0


def test_bridge_gradient_of_argument_without_influence_is_zero():
    wrapped = torch2jax(lambda x, y: (x * 2).sum() + y.detach().sum())
    got = jax.grad(wrapped, (0, 1))(jnp.ones(2), jnp.ones(3))
    np.testing.assert_array_equal(got[0], [2.0, 2.0])
    np.testing.assert_array_equal(got[1], np.zeros(3))


def test_bridge_autograd_function_that_has_only_a_backward():
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, grad):
            return 3 * ctx.saved_tensors[0] ** 2 * grad

    wrapped = torch2jax(lambda x: Cube.apply(x).sum())
    np.testing.assert_allclose(jax.jit(jax.grad(wrapped))(jnp.array([1.0, 2.0])), [3.0, 12.0])


def test_bridge_disable_jit():
    wrapped = torch2jax(lambda x: x * 2)
    with jax.disable_jit():
        np.testing.assert_array_equal(wrapped(jnp.ones(2)), [2.0, 2.0])
        np.testing.assert_array_equal(jax.grad(lambda x: wrapped(x).sum())(jnp.ones(2)), [2.0, 2.0])


class SetUp(torch.autograd.Function):
    """The style that torch.func knows: with setup_context, a forward and a batching rule."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        return 3 * ctx.saved_tensors[0] ** 2 * grad

    @staticmethod
    def jvp(ctx, tangent):
        return 3 * ctx.saved_tensors[0] ** 2 * tangent


@pytest.mark.parametrize("name", ["grad", "jit_grad", "jvp", "vmap_grad", "reverse_reverse"])
def test_bridge_autograd_function_with_setup_context(name):
    x = jnp.array([0.5, -1.0, 2.0])
    transform = {
        "grad": lambda f: jax.grad(lambda x: f(x).sum())(x),
        "jit_grad": lambda f: jax.jit(jax.grad(lambda x: f(x).sum()))(x),
        "jvp": lambda f: jax.jvp(f, (x,), (x,)),
        "vmap_grad": lambda f: jax.vmap(jax.grad(f))(x),
        "reverse_reverse": lambda f: jax.jacrev(jax.jacrev(f))(x),
    }[name]
    compare(transform(torch2jax(SetUp.apply)), transform(lambda x: x**3), 1e-5)


def test_bridge_named_call_and_named_scope():
    wrapped = torch2jax(torch.sin)
    x = jnp.arange(3.0)
    compare(jax.jit(jax.named_call(wrapped, name="sine"))(x), jnp.sin(x), 1e-6)
    with jax.named_scope("outer"):
        compare(jax.jit(wrapped)(x), jnp.sin(x), 1e-6)


def test_bridge_export_is_refused_with_a_sentence():
    x = jnp.arange(3.0)
    for function in (torch2jax(torch.sin), jax.grad(lambda x: torch2jax(torch.sin)(x).sum())):
        with pytest.raises(NotImplementedError, match=r"jax.export cannot store .* function sin: "):
            jax.export.export(jax.jit(function))(x)


def test_bridge_program_can_be_compiled_ahead_of_time():
    x = jnp.arange(3.0)
    program = jax.jit(torch2jax(torch.sin)).lower(x).compile()
    compare(program(x), jnp.sin(x), 1e-6)
