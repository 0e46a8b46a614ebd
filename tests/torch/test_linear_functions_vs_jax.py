"""What `vjp` and `linearize` return, out of and into compiled functions, against JAX."""

import copy
import gc
import pickle
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import pax_torch as pax
import pax_tree

X = np.linspace(0.3, 1.2, 3)
C = np.array([1.0, -2.0, 0.5])
# Functions of one vector, written once for both libraries.
FUNCTIONS = {
    "tree": lambda lib, x: {"a": lib.exp(x) * x.sum(), "b": (x * x, lib.tanh(x))},
    "matrix": lambda lib, x: lib.outer(x, x) @ lib.exp(x),
    "constant": lambda lib, x: lib.ones(3),
}
LIBRARIES = {
    "jax": (jax, jnp, jnp.asarray, jax.jit),
    "pax": (pax, torch, torch.tensor, lambda f: pax.jit(f, backend="eager")),
}


@pytest.fixture(autouse=True)
def _double_precision():
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with jax.enable_x64(True):
        yield
    torch.set_default_dtype(default)


def parts(name, function):
    """A library and what uses it: `f`, `jit`, the point and a cotangent like what `f` returns."""
    lib, numpy, array, jit = LIBRARIES[name]
    f = lambda x: FUNCTIONS[function](numpy, x)  # noqa: E731
    return lib, f, jit, array(X), lib.tree_map if lib is pax else jax.tree.map


def pulled_out(name, function):
    """Pull back by a function that left `jit`."""
    lib, f, jit, x, tree_map = parts(name, function)
    out, pull_back = jit(lambda x: lib.vjp(f, x))(x)
    return out, pull_back(tree_map(lambda y: y * y, out))


def pulled_in(name, function):
    """Pull back by a function that entered `jit`."""
    lib, f, jit, x, tree_map = parts(name, function)
    out, pull_back = lib.vjp(f, x)
    return jit(lambda pull, c: pull(c))(pull_back, tree_map(lambda y: y + 1.0, out))


def pushed_out(name, function):
    """Push forward by a function that left `jit`."""
    lib, f, jit, x, _ = parts(name, function)
    return jit(lambda x: lib.linearize(f, x)[1])(x)(LIBRARIES[name][2](C))


def pushed_in(name, function):
    """Push forward by a function that left one compiled function for another."""
    lib, f, jit, x, _ = parts(name, function)
    push = jit(lambda x: lib.linearize(f, x))(x)[1]
    return jit(lambda push, t: push(t))(push, LIBRARIES[name][2](C))


def mapped(name, function):
    """Map a function that left `jit`."""
    lib, f, jit, x, tree_map = parts(name, function)
    out, pull_back = jit(lambda x: lib.vjp(f, x))(x)
    return lib.vmap(lambda s: pull_back(tree_map(lambda y: s * y, out)))(x)


def second(name, function):
    """Differentiate through a function that left `jit`, and one that entered it."""
    lib, f, jit, x, tree_map = parts(name, function)

    def loss(x):
        out, pull_back = jit(lambda x: lib.vjp(f, x))(x)
        (pulled,) = jit(lambda pull, c: pull(c))(pull_back, tree_map(lambda y: 0 * y + 1.0, out))
        return (pulled**2).sum()

    return lib.grad(loss)(x), lib.jvp(loss, (x,), (LIBRARIES[name][2](C),))


WAYS = [pulled_out, pulled_in, pushed_out, pushed_in, mapped, second]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_values_are_those_of_jax(way, function):
    found, expected = way("pax", function), way("jax", function)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(x), y, rtol=1e-12)


def test_leaves_are_residuals_and_one_program_serves_all_points():
    def f(x):
        return torch.exp(x) * x

    calls = []

    def pull(pull_back, c):
        calls.append(c)
        return pull_back(c)[0]

    compiled = pax.jit(pull, backend="eager")
    points = [torch.tensor(X), torch.tensor(C)]
    for x in points:
        torch.testing.assert_close(compiled(pax.vjp(f, x)[1], x), x * (1 + x) * x.exp())
    assert len(calls) == 1
    first, other = (pax.vjp(f, x)[1] for x in points)
    assert pax_tree.tree_structure(first) == pax_tree.tree_structure(other)
    assert pax_tree.tree_structure(first) != pax_tree.tree_structure(pax.vjp(torch.sin, X)[1])
    doubled = pax.tree_map(lambda leaf: 2 * leaf, pax.vjp(lambda x, w: w * x, *points)[1])
    for found, point in zip(doubled(torch.ones(3)), reversed(points), strict=True):
        torch.testing.assert_close(found, 2 * point)


def test_what_left_jit_can_be_copied_and_keeps_nothing_else_alive():
    pull_back = pax.jit(lambda x: pax.vjp(torch.sin, x)[1], backend="eager")(torch.tensor(X))
    copied = copy.deepcopy(pull_back)  # cos(x), of which x is the residual
    pax.tree_leaves(pull_back)[0].zero_()
    torch.testing.assert_close(copied(torch.ones(3))[0], torch.tensor(X).cos())
    torch.testing.assert_close(pull_back(torch.ones(3))[0], torch.ones(3, dtype=torch.float64))
    x = torch.tensor(X)
    residual = weakref.ref(x)
    structure = pax_tree.tree_structure(pax.vjp(lambda x: x.sin(), x)[1])
    del x
    gc.collect()
    assert residual() is None
    assert structure.num_leaves == 1


def test_a_pickled_function_is_the_same():
    x, c = torch.tensor(X), torch.tensor(C)
    f = lambda x: (torch.outer(x, x) @ x.exp(), torch.tensor([1, 2]))  # noqa: E731
    for pull in (pax.vjp(f, x)[1], pax.jit(lambda x: pax.vjp(f, x)[1], backend="eager")(x)):
        for copied in (pickle.loads(pickle.dumps(pull)), copy.copy(pull)):
            torch.testing.assert_close(copied((c, None)), pull((c, None)))
    push = pax.linearize(torch.sin, x)[1]
    torch.testing.assert_close(pickle.loads(pickle.dumps(push))(c), push(c))


def test_random_masks_are_residuals():
    f = lambda x: torch.nn.functional.dropout(x) * 3  # noqa: E731
    x = torch.ones(20)
    out, pull_back = pax.jit(lambda x: pax.vjp(f, x), backend="eager")(x)
    torch.testing.assert_close(pull_back(x)[0], out)
    torch.testing.assert_close(pull_back(x)[0], out)


def test_rules_that_draw_again_are_refused():
    f = pax.custom_vjp(lambda x: x * torch.rand(3))

    def fwd(x):
        mask = torch.rand(3)
        return x * mask, mask

    f.defvjp(fwd, lambda mask, c: (mask * c,))
    out, pull_back = pax.vjp(f, torch.ones(3))
    torch.testing.assert_close(pull_back(torch.ones(3))[0], out)
    with pytest.raises(RuntimeError, match="draws the random numbers of its function again"):
        pax.tree_leaves(pull_back)
    with pytest.raises(RuntimeError, match=r"pax_torch\.random"):
        pax.jit(lambda x: pax.vjp(f, x)[1](x), backend="eager")(torch.ones(3))


def test_leaves_inside_of_vmap_are_refused():
    with pytest.raises(TypeError, match="pull_back of vjp> has leaves only outside of transforms"):
        pax.vmap(lambda x: pax.vjp(torch.sin, x)[1])(torch.ones(3))
