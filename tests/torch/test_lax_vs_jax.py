"""Control flow of pax_torch against JAX's: values, derivatives of first and second order, mapped and compiled."""
# ruff: noqa: E731

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import pax_torch as pax
import pax_tree

J = SimpleNamespace(
    lax=jax.lax, np=jnp, vmap=jax.vmap, grad=jax.grad, jvp=jax.jvp, leaves=jax.tree.leaves,
    integer=lambda x: jnp.asarray(x).astype(int),
    is_real=lambda x: jnp.issubdtype(jnp.asarray(x).dtype, jnp.floating),
)  # fmt: skip
T = SimpleNamespace(
    lax=pax.lax, np=torch, vmap=pax.vmap, grad=pax.grad, jvp=pax.jvp, leaves=pax.tree_leaves,
    integer=lambda x: torch.as_tensor(x).to(int), is_real=torch.is_floating_point,
)  # fmt: skip


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def check(program, *args):
    """Run one program with each library, on the same arguments, and compare trees, types and numbers."""
    ours = program(T)(*pax_tree.tree_map(lambda x: torch.from_numpy(np.array(x)), args))
    with jax.enable_x64(True):
        theirs = jax.jit(program(J))(*jax.tree.map(jnp.asarray, args))
    assert str(jax.tree.structure(theirs)) == str(jax.tree.structure(ours))
    for our, their in zip(pax.tree_leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert str(our.dtype).removeprefix("torch.") == str(their.dtype)
        assert tuple(our.shape) == their.shape
        np.testing.assert_allclose(our.detach().numpy(), np.asarray(their), rtol=1e-9, atol=1e-9)


STATE = {"a": values(3), "b": [values(3, seed=1), values(seed=2)]}
XS = {"x": values(4, 3, seed=3), "s": values(4, seed=4)}


def recurrence(lib):
    def body(carry, x):
        a = lib.np.tanh(carry["a"] * x["s"] + x["x"])
        b = [carry["b"][0] + a * a, carry["b"][1] * lib.np.cos(x["s"])]
        return {"a": a, "b": b}, (a * b[1], {"sum": a.sum()})

    return body


def newton(lib):
    """The square root of y by as many steps as it takes."""

    def cond(state):
        x, y, n = state
        return (lib.np.abs(x * x - y) > 1e-13 * y) & (n < 50)

    def body(state):
        x, y, n = state
        return (x + y / x) / 2, y, n + 1

    return lambda y: lib.lax.while_loop(cond, body, (y, y, 0))


PROGRAMS = {
    "scan": lambda lib: lambda init, xs: lib.lax.scan(recurrence(lib), init, xs),
    "scan reverse": lambda lib: (
        lambda init, xs: lib.lax.scan(recurrence(lib), init, xs, reverse=True)
    ),
    "scan unroll": lambda lib: (
        lambda init, xs: lib.lax.scan(recurrence(lib), init, xs, length=4, unroll=3)
    ),
    "scan unroll all": lambda lib: (
        lambda init, xs: lib.lax.scan(recurrence(lib), init, xs, unroll=True)
    ),
    "scan without xs": lambda lib: (
        lambda init, xs: lib.lax.scan(lambda c, _: (c * xs["s"][0], c + 1), init["a"], length=3)
    ),
    "scan of nothing": lambda lib: (
        lambda init, xs: lib.lax.scan(recurrence(lib), init, {"x": xs["x"][:0], "s": xs["s"][:0]})
    ),
    "scan of no outputs": lambda lib: (
        lambda init, xs: lib.lax.scan(lambda c, x: (c * x, None), init["b"][1], xs["s"])
    ),
    "scan from a number": lambda lib: (
        lambda init, xs: lib.lax.scan(lambda c, x: (c + x, c), 0, xs["s"])
    ),
    "scan in scan": lambda lib: (
        lambda init, xs: lib.lax.scan(
            lambda c, x: lib.lax.scan(lambda d, y: (d * lib.np.sin(y), d), c, x),
            init["b"][1],
            xs["x"],
        )
    ),
    "map": lambda lib: (
        lambda init, xs: lib.lax.map(lambda x: {"y": x["x"] * x["s"] * init["a"]}, xs)
    ),
    "map in batches": lambda lib: (
        lambda init, xs: lib.lax.map(lambda x: x["x"].sum() * x["s"] * init["a"], xs, batch_size=3)
    ),
    "map in one batch": lambda lib: (
        lambda init, xs: lib.lax.map(lambda x: x["x"] * init["a"], xs, batch_size=9)
    ),
    "fori_loop": lambda lib: (
        lambda init, xs: lib.lax.fori_loop(
            1, 4, lambda i, c: lib.np.sin(c * xs["s"][i]) * i, init["a"]
        )
    ),
    "fori_loop of nothing": lambda lib: (
        lambda init, xs: lib.lax.fori_loop(3, 1, lambda i, c: c * i, init["a"])
    ),
    "cond": lambda lib: (
        lambda init, xs: lib.lax.cond(
            xs["s"][0] > 0, lambda c, x: c * x, lambda c, x: c - x**2, init["a"], xs["s"][1]
        )
    ),
    "cond of numbers": lambda lib: (
        lambda init, xs: lib.lax.cond(False, lambda c: c["a"], lambda c: c["b"][0], init)
    ),
    "switch": lambda lib: (
        lambda init, xs: lib.lax.switch(
            1, [lambda c: c, lambda c: lib.np.exp(c), lambda c: c**2], init["a"]
        )
    ),
    "switch beyond": lambda lib: (
        lambda init, xs: [
            lib.lax.switch(i, [lambda c: c, lambda c: lib.np.exp(c), lambda c: c**2], init["a"])
            for i in (-3, 9)
        ]
    ),
    "switch of one": lambda lib: lambda init, xs: lib.lax.switch(5, [lambda c: c * 2], init["a"]),
    "associative_scan": lambda lib: (
        lambda init, xs: lib.lax.associative_scan(
            lambda p, q: {"x": p["x"] * q["x"], "s": p["s"] + q["s"] * p["s"]}, xs
        )
    ),
    "associative_scan reverse": lambda lib: (
        lambda init, xs: lib.lax.associative_scan(lambda p, q: p * q, xs["x"], reverse=True, axis=1)
    ),
}


def squares(f, leaves):
    return lambda *args: sum((x * x).sum() for x in leaves(f(*args)))


def everything(f, lib):
    """The values, derivatives of first and second order, and derivatives that are mapped."""
    loss = squares(f, lib.leaves)

    def run(init, xs, batch):
        gradient = lib.grad(loss, (0, 1))
        second = lib.jvp(gradient, (init, xs), (init, xs))
        return f(init, xs), second, lib.vmap(lib.grad(loss), (0, None))(batch, xs)

    return run


@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_derivatives(name):
    batch = jax.tree.map(lambda x: np.stack([x, 2 * x]), STATE)
    check(lambda lib: everything(PROGRAMS[name](lib), lib), STATE, XS, batch)


LOOPS = {
    "while_loop": lambda lib: newton(lib),
    "fori_loop": lambda lib: (
        lambda y: lib.lax.fori_loop(0, lib.integer(y), lambda i, s: lib.np.sin(s + i * y), y)
    ),
    "fori_loop from": lambda lib: (
        lambda y: lib.lax.fori_loop(-lib.integer(y), lib.integer(2), lambda i, s: s * 1.5 + i, y)
    ),
    "cond": lambda lib: lambda y: lib.lax.cond(y > 3, lambda z: [z * y, 1.0], lambda z: [-z, y], y),
    "switch": lambda lib: (
        lambda y: lib.lax.switch(lib.integer(y) - 3, [lambda z: z, lambda z: z * z, lib.np.exp], y)
    ),
    "cond of a number": lambda lib: (
        lambda y: lib.lax.cond(lib.integer(y) - 2, lambda: lib.np.sin(y), lambda: y)
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_what_differs_from_example_to_example(name):
    y = np.array([0.5, 2.5, 3.5, 9.0])

    def program(lib):
        f = LOOPS[name](lib)
        total = lambda y: sum(x.sum() for x in lib.leaves(f(y)) if lib.is_real(x))
        along = lambda y: lib.jvp(total, (y,), (y,))[1]
        return lambda y: (lib.vmap(f)(y), lib.vmap(along)(y), lib.vmap(lib.vmap(f))(y[:, None]))

    check(program, y)


@pytest.mark.parametrize("name", ["cond", "switch", "cond of a number"])
def test_reverse_mode_of_what_differs_from_example_to_example(name):
    def program(lib):
        f = LOOPS[name](lib)
        return lib.vmap(lib.grad(lib.grad(lambda y: sum(x.sum() for x in lib.leaves(f(y))))))

    check(program, np.array([0.5, 2.5, 3.5, 9.0]))


@pytest.mark.parametrize("take", [lambda x: x["x"].T, lambda x: x["s"]], ids=["axis", "vector"])
def test_scan_over_what_is_mapped(take):
    """The carry begins as it is for all, and differs from the first step on."""

    def program(lib):
        f = lambda xs: lib.lax.scan(lambda c, x: (c + x, c * x), 0.0, xs)
        return lambda xs: lib.vmap(f)(take(xs)) if take(xs).ndim == 2 else f(take(xs))

    check(program, XS)


def test_cond_takes_an_operand_by_name_as_jax_does():
    for pred in (True, False):
        expected = jax.lax.cond(pred, lambda x: x + 1.0, lambda x: x - 1.0, operand=2.0)
        found = pax.lax.cond(pred, lambda x: x + 1.0, lambda x: x - 1.0, operand=2.0)
        assert float(found) == float(expected)
        nothing = pax.lax.cond(pred, lambda _: 1.0, lambda _: 2.0, operand=None)
        assert float(nothing) == (1.0 if pred else 2.0)
    for lib in (jax, pax):
        with pytest.raises(TypeError):
            lib.lax.cond(True, abs, abs, 1.0, operand=2.0)
