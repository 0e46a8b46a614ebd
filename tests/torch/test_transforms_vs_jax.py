"""The transforms of pax_torch against JAX's of the same name: the same programs, trees and numbers."""
# ruff: noqa: E731

from functools import partial
from itertools import product
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pax_torch as pax
import pax_tree

J = SimpleNamespace(
    **{name: getattr(jax, name) for name in (
        "grad", "value_and_grad", "jvp", "vjp", "linearize", "jacfwd", "jacrev", "jacobian",
        "hessian", "vmap", "checkpoint", "custom_vjp", "custom_jvp",
    )},
    np=jnp, stop_gradient=jax.lax.stop_gradient,
)  # fmt: skip
T = SimpleNamespace(**{name: getattr(pax, name) for name in vars(J) if name != "np"}, np=torch)


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def assert_same(ours, theirs):
    """The same tree, up to what JAX has in place of None for integers, of the same numbers."""
    theirs = jax.tree.map(lambda x: None if x.dtype == jax.dtypes.float0 else x, theirs)
    assert str(jax.tree.structure(theirs)) == str(jax.tree.structure(ours))
    for our, their in zip(pax.tree_leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert str(our.dtype).removeprefix("torch.") == str(their.dtype)
        np.testing.assert_allclose(our.detach().numpy(), np.asarray(their), rtol=1e-9, atol=1e-9)


def check(program, *args):
    """Run one program with each library, on the same arguments."""
    ours = program(T)(*pax_tree.tree_map(lambda x: torch.from_numpy(np.array(x)), args))
    with jax.enable_x64(True):
        assert_same(ours, jax.jit(program(J))(*jax.tree.map(jnp.asarray, args)))


TREE = {"w": values(3, 2), "b": [values(2, seed=1), None], "c": values(seed=2)}
X = values(4, 3, seed=3)


def net(lib):
    return lambda p, x: lib.np.tanh(x @ p["w"] + p["b"][0]) * p["c"]


def loss(lib):
    return lambda p, x: (net(lib)(p, x) ** 2).sum()


def with_aux(lib):
    return lambda p, x: (loss(lib)(p, x), {"out": net(lib)(p, x), "n": [x * 2]})


def outputs(lib):
    return lambda p, x: {"sum": (p["w"] * x[:, None]).sum(), "out": (x @ p["w"], p["c"])}


PROGRAMS = {
    "grad": lambda lib: lib.grad(loss(lib)),
    "grad argnums": lambda lib: lib.grad(loss(lib), argnums=(1, 0)),
    "grad negative": lambda lib: lib.grad(loss(lib), argnums=-1),
    "grad aux": lambda lib: lib.grad(with_aux(lib), has_aux=True),
    "value_and_grad aux": lambda lib: lib.value_and_grad(with_aux(lib), (0,), has_aux=True),
    "jvp": lambda lib: lambda p, x: lib.jvp(net(lib), (p, x), (p, x)),
    "jvp aux": lambda lib: lambda p, x: lib.jvp(with_aux(lib), (p, x), (p, x), has_aux=True),
    "vjp": lambda lib: lambda p, x: lib.vjp(net(lib), p, x)[1](net(lib)(p, x)),
    "vjp aux": lambda lib: lambda p, x: lib.vjp(with_aux(lib), p, x, has_aux=True)[::2],
    "linearize": lambda lib: lambda p, x: lib.linearize(net(lib), p, x)[1](p, x),
    "linearize out": lambda lib: lambda p, x: lib.linearize(net(lib), p, x)[0],
    "jacfwd": lambda lib: lib.jacfwd(net(lib)),
    "jacrev": lambda lib: lib.jacrev(net(lib)),
    "jacobian argnums": lambda lib: lib.jacobian(net(lib), argnums=(1, 0)),
    "jacfwd tree to tree": lambda lib: lambda p, x: lib.jacfwd(outputs(lib))(p, x[0]),
    "jacrev tree to tree": lambda lib: lambda p, x: lib.jacrev(outputs(lib), (0, 1))(p, x[0]),
    "jacrev aux": lambda lib: lib.jacrev(with_aux(lib), has_aux=True),
    "jacfwd aux": lambda lib: lib.jacfwd(with_aux(lib), has_aux=True),
    "hessian": lambda lib: lib.hessian(loss(lib)),
    "hessian argnums": lambda lib: lib.hessian(loss(lib), argnums=(0, 1)),
    "vmap": lambda lib: lib.vmap(net(lib), in_axes=(None, 0)),
    "vmap axes": lambda lib: lib.vmap(
        lambda p, x: {"y": x @ p["w"], "c": p["c"]},
        in_axes=({"w": 1, "b": None, "c": None}, None),
        out_axes={"y": -1, "c": None},
    ),
    "vmap size": lambda lib: lib.vmap(
        lambda p, x: p["c"], in_axes=None, axis_size=3
    ),
    "vmap keyword": lambda lib: lambda p, x: lib.vmap(
        lambda p, x: x @ p["w"], in_axes=(None,)
    )(p, x=x),
    "vmap vmap": lambda lib: lambda p, x: lib.vmap(
        lib.vmap(lambda a, b: a * b, (None, 0)), (0, None)
    )(x[:, 0], x[0]),
    "vmap grad": lambda lib: lib.vmap(lib.grad(loss(lib)), in_axes=(None, 0)),
    "grad vmap": lambda lib: lib.grad(
        lambda p, x: lib.vmap(loss(lib), in_axes=(None, 0))(p, x).sum()
    ),
    "grad grad": lambda lib: lambda p, x: lib.grad(lib.grad(lambda c: lib.np.sin(c) ** 3))(p["c"]),
    "jacfwd jacfwd": lambda lib: lib.jacfwd(lib.jacfwd(loss(lib))),
    "jacrev jacrev": lambda lib: lib.jacrev(lib.jacrev(loss(lib), 1), 1),
    "jacrev jacfwd": lambda lib: lib.jacrev(lib.jacfwd(loss(lib), 1), 1),
    "jvp grad": lambda lib: lambda p, x: lib.jvp(lib.grad(loss(lib)), (p, x), (p, x)),
    "grad jvp": lambda lib: lib.grad(lambda p, x: lib.jvp(loss(lib), (p, x), (p, x))[1]),
    "grad linearize": lambda lib: lib.grad(lambda p, x: lib.linearize(loss(lib), p, x)[1](p, x)),
    "vmap linearize": lambda lib: lambda p, x: lib.vmap(lib.linearize(loss(lib), p, x[0])[1], (None, 0))(p, x),
    "vmap vjp": lambda lib: lambda p, x: lib.vmap(lib.vjp(net(lib), p, x[0])[1])(x[:, :2]),
    "vmap hessian": lambda lib: lib.vmap(lib.hessian(loss(lib)), (None, 0)),
    "stop_gradient": lambda lib: lib.grad(lambda p, x: (lib.stop_gradient(p)["w"] * p["w"]).sum()),
    "jvp of stop_gradient": lambda lib: lambda p, x: lib.jvp(
        lambda p: (lib.stop_gradient(p)["w"] * p["w"]).sum(), (p,), (p,)
    ),
    "hessian of stop_gradient": lambda lib: lambda p, x: lib.hessian(
        lambda c: lib.stop_gradient(c) * c**2
    )(p["c"]),
}  # fmt: skip


def custom_vjp(lib):
    """A wrong rule on purpose, so that it shows where it is used."""

    @partial(lib.custom_vjp, nondiff_argnums=(0,))
    def f(fun, t, y):
        return {"out": fun(t["w"]) * y}

    def fwd(fun, t, y):
        return f(fun, t, y), (t, y)

    def bwd(fun, residuals, g):
        t, y = residuals
        return {"w": 3 * g["out"] * y, "b": None, "c": t["c"]}, (fun(t["w"]) * g["out"]).sum()

    f.defvjp(fwd, bwd)
    return lambda p, x: (f(lib.np.sin, p, y=x.sum())["out"] ** 2).sum()


def custom_jvp(lib):
    @partial(lib.custom_jvp, nondiff_argnums=(2,))
    def f(t, y, fun=lib.np.sin):
        return fun(t["w"]) * y

    @f.defjvp
    def rule(fun, primals, tangents):
        (t, y), (dt, dy) = primals, tangents
        return f(t, y, fun), 3 * dt["w"] * y + dy * fun(t["w"])

    return lambda p, x: (f(p, x.sum()) ** 2).sum()


def custom_jvps(lib):
    f = lib.custom_jvp(lambda x, y: x * y)
    f.defjvps(lambda t, out, x, y: t * y * out, None)
    return lambda p, x: f(p["w"], x.sum()).sum()


def checkpointed(lib):
    return lambda p, x: (lib.checkpoint(net(lib))(p, x) ** 2).sum()


CUSTOM = {f.__name__: f for f in (custom_vjp, custom_jvp, custom_jvps, checkpointed)}
USES = {
    "value": lambda lib, f: f,
    "grad": lambda lib, f: lib.grad(f, (0, 1)),
    "jacrev": lambda lib, f: lib.jacrev(f),
    "vmap": lambda lib, f: lib.vmap(f, (None, 0)),
    "vmap grad": lambda lib, f: lib.vmap(lib.grad(f), (None, 0)),
    "grad vmap": lambda lib, f: lib.grad(lambda p, x: lib.vmap(f, (None, 0))(p, x).sum()),
    "hessian": lambda lib, f: lib.hessian(f),
}


# JAX has no forward mode for custom_vjp, which its Hessian needs.
PAIRS = [pair for pair in product(CUSTOM, USES) if pair != ("custom_vjp", "hessian")]


@pytest.mark.parametrize(("function", "use"), PAIRS, ids="-".join)
def test_custom_rule(function, use):
    check(lambda lib: USES[use](lib, CUSTOM[function](lib)), TREE, X)


@pytest.mark.parametrize("function", [custom_jvp, custom_jvps, checkpointed])
def test_forward_mode_of_custom_rule(function):
    check(lambda lib: lambda p, x: lib.jvp(function(lib), (p, x), (p, x)), TREE, X)
    check(lambda lib: lib.jacfwd(function(lib)), TREE, X)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_program(program):
    check(program, TREE, X)


@pytest.mark.parametrize("transform", ["grad", "jacfwd", "jacrev", "hessian"])
def test_holomorphic(transform):
    z = np.complex128(0.3 + 0.8j)
    check(lambda lib: getattr(lib, transform)(lambda z: lib.np.sin(z) * z, holomorphic=True), z)


def test_integer_leaves():
    f = lambda t: (t["x"] * t["n"]).sum()
    check(lambda lib: lib.grad(f, allow_int=True), {"x": X, "n": np.arange(3)})


def test_integer_results_and_arguments_of_jvp_and_vjp():
    x, n = torch.tensor(2.0), torch.tensor([3, 4])
    f = lambda x, n: (x * n, n + 1)
    zero = np.zeros(2, jax.dtypes.float0)
    with jax.enable_x64(True):
        theirs = jax.jvp(f, (jnp.float32(2.0), jnp.array([3, 4])), (jnp.float32(1.0), zero))
        assert_same(pax.jvp(f, (x, n), (1.0, None)), theirs)
    _, pull = pax.vjp(f, x, n)
    gradient, none = pull((torch.ones(2), None))
    assert (gradient.item(), none) == (7.0, None)


trees = st.recursive(
    st.sampled_from([(), (2,), (2, 3), (0,)]).map(lambda shape: values(*shape)),
    lambda node: st.one_of(
        st.lists(node, min_size=1, max_size=2),
        st.tuples(node, st.none(), node),
        st.dictionaries(st.sampled_from("abc"), node, min_size=1, max_size=2),
    ),
    max_leaves=4,
)


@settings(max_examples=15)
@given(trees, st.sampled_from(["jacfwd", "jacrev", "hessian", "jvp", "vjp"]))
def test_any_tree(tree, transform):
    def program(lib):
        mix = lambda t: sum(
            (leaf**2).sum() + (leaf * 3).sum() ** 3 for leaf in pax_tree.tree_leaves(t)
        )
        f = lambda t: {"a": mix(t), "t": pax_tree.tree_map(lambda leaf: leaf * mix(t), t)}
        if transform == "jvp":
            return lambda t: lib.jvp(f, (t,), (t,))
        if transform == "vjp":
            return lambda t: lib.vjp(f, t)[1](f(t))
        return getattr(lib, transform)(mix if transform == "hessian" else f)

    check(program, tree)


@settings(max_examples=15)
@given(st.data())
def test_any_axes(data):
    size = data.draw(st.integers(1, 3), label="size")
    count = data.draw(st.integers(1, 3), label="arguments")
    args, axes = [], []
    for i in range(count):
        shape = data.draw(st.lists(st.integers(1, 3), max_size=2))
        axis = data.draw(st.one_of(st.none(), st.integers(-len(shape) - 1, len(shape))))
        if axis is not None:
            shape.insert(axis % (len(shape) + 1), size)
        args.append({"x": values(*shape, seed=i)})
        axes.append(axis)
    outs = [
        data.draw(st.integers(-1, a["x"].ndim - (x is not None)))
        for a, x in zip(args, axes, strict=True)
    ]

    def program(lib):
        f = lambda *trees: [lib.np.sin(t["x"]) for t in trees]
        return lib.vmap(f, in_axes=tuple(axes), out_axes=outs, axis_size=size)

    check(program, *args)
