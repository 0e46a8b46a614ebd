"""What each transformation does with a change of a module; `python` of this file prints the table."""

import functools
import warnings

import jax
import jax.numpy as jnp
import pytest
from changing_modules import PARTS, All, X
from jax.experimental import io_callback
from jax.sharding import PartitionSpec

import pax_jax as pax

XS = jnp.stack([X, X])
SHAPE = jax.ShapeDtypeStruct(X.shape, X.dtype)


def first(out):
    return out[0] if isinstance(out, tuple) else out


def scalar(f):
    def function(x, *net):
        out = f(*net, x)
        return jnp.sum(first(out)), out

    return function


def with_rule(f, *net):
    custom = jax.custom_jvp(f)
    custom.defjvp(lambda primals, tangents: (f(*primals), f(*primals)))
    return custom(*net, X)


def with_backward(f, *net):
    custom = jax.custom_vjp(f)
    custom.defvjp(lambda *args: (f(*args), args), lambda args, g: args)
    return custom(*net, X)


def with_gradient(f, *net):
    return jax.custom_gradient(lambda *args: (f(*args), lambda g: args))(*net, X)


def exported(f, *net):
    return jax.export.export(jax.jit(f))(*net, X).call(*net, X)


def sharded(f, *net):
    mesh = jax.make_mesh((1,), ("i",))
    specs = {"in_specs": PartitionSpec(), "out_specs": PartitionSpec()}
    return jax.shard_map(f, mesh=mesh, **specs)(*net, X)


def vmapped(vmap):
    return lambda f, *net: vmap(f, [None] * (len(net) + 1), None, axis_size=2)(*net, X)


def called_back(callback):
    def run(f, *net):
        shape = jax.eval_shape(f, *net, X) if net else SHAPE
        return callback(f, shape, *net, X)

    return run


def debugged(f, *net):
    def call(*args):
        f(*args)

    jax.debug.callback(call, *net, X)


def scanned(scan):
    return lambda f, *net: scan(lambda c, x: (c, f(*net, x)), 0, XS[:1])


def at_compile_time(f, *net):
    with jax.ensure_compile_time_eval():
        return f(*net, X)


def ahead(f, *net):
    return jax.jit(f).lower(*net, X).compile()(*net, X)


def while_loop(loop):
    def run(f, *net):
        return loop(lambda s: s[0] < 1, lambda s: (s[0] + 1, first(f(*net, s[1]))), (0, X))

    return run


def associative(f, *net):
    ran = []

    def add(a, b):
        if not ran:
            ran.append(f(*net, X))
        return a + b

    return jax.lax.associative_scan(add, XS), ran


def eager(f, *net):
    with jax.disable_jit():
        return jax.jit(f)(*net, X)


# Each calls a function of a net, or of none, and of `X` once.
JAX = {
    "jax.jit": lambda f, *net: jax.jit(f)(*net, X),
    "jax.jit, compiled": ahead,
    "jax.jit, static": lambda f, *net: jax.jit(f, static_argnums=range(len(net)))(*net, X),
    "jax.disable_jit": eager,
    "jax.pmap": lambda f, *net: jax.pmap(
        f, in_axes=(*[None] * len(net), 0), out_axes=None, axis_size=1
    )(*net, X[None]),
    "jax.shard_map": sharded,
    "jax.export": exported,
    "jax.make_jaxpr": lambda f, *net: jax.make_jaxpr(f, return_shape=True)(*net, X)[1],
    "jax.eval_shape": lambda f, *net: jax.eval_shape(f, *net, X),
    "jax.named_call": lambda f, *net: jax.named_call(f, name="f")(*net, X),
    "jax.ensure_compile_time_eval": at_compile_time,
    "jax.checkpoint": lambda f, *net: jax.checkpoint(f)(*net, X),
    "jax.vmap": vmapped(jax.vmap),
    "jax.grad": lambda f, *net: jax.grad(scalar(f), has_aux=True)(X, *net)[1],
    "jax.value_and_grad": lambda f, *net: jax.value_and_grad(scalar(f), has_aux=True)(X, *net)[0][
        1
    ],
    "jax.jvp": lambda f, *net: jax.jvp(lambda x: f(*net, x), (X,), (X,)),
    "jax.vjp": lambda f, *net: jax.vjp(lambda x: first(f(*net, x)), X),
    "jax.linearize": lambda f, *net: jax.linearize(lambda x: first(f(*net, x)), X),
    "jax.jacfwd": lambda f, *net: jax.jacfwd(scalar(f), has_aux=True)(X, *net)[1],
    "jax.jacrev": lambda f, *net: jax.jacrev(scalar(f), has_aux=True)(X, *net)[1],
    "jax.hessian": lambda f, *net: jax.hessian(scalar(f), has_aux=True)(X, *net)[1],
    "jax.custom_jvp": with_rule,
    "jax.custom_vjp": with_backward,
    "jax.custom_gradient": with_gradient,
    "jax.pure_callback": called_back(jax.pure_callback),
    "io_callback": called_back(io_callback),
    "jax.debug.callback": debugged,
    "lax.cond": lambda f, *net: jax.lax.cond(True, f, f, *net, X),
    "lax.switch": lambda f, *net: jax.lax.switch(0, [f, f], *net, X),
    "lax.platform_dependent": lambda f, *net: jax.lax.platform_dependent(*net, X, default=f),
    "lax.scan": scanned(jax.lax.scan),
    "lax.map": lambda f, *net: jax.lax.map(lambda x: f(*net, x), XS[:1]),
    "lax.while_loop": while_loop(jax.lax.while_loop),
    "lax.fori_loop": lambda f, *net: jax.lax.fori_loop(0, 1, lambda i, x: first(f(*net, x)), X),
    "lax.associative_scan": associative,
}


class Scan(pax.Module):
    """A net as what `pax_jax.scan` and `pax_jax.while_loop` call."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def __call__(self, carry, x):
        return carry, self.f(x)

    def next(self, state):
        return state[0] + 1, self.f(state[1])

    def numbered(self, i, x):
        return self.f(x)

    def loss(self, x):
        return jnp.sum(self.f(x))


def updated(f, *net):
    def loss_fn(params, x):
        y = f(params, x)
        return jnp.sum(first(y)), (y, params)

    params, _, _ = pax.build_update_fn(loss_fn)(*net, Nothing(), X)
    return params


class Nothing(pax.Module):
    def step(self, grads, model):
        return model


PAX = {
    "pax.jit": lambda f, *net: pax.jit(f)(*net, X),
    "pax.jit, compiled": lambda f, *net: pax.jit(f).lower(*net, X).compile()(*net, X),
    "pax.remat": lambda f, *net: pax.remat(f)(*net, X),
    "pax.vmap": vmapped(pax.vmap),
    "pax.grad": lambda f, *net: pax.grad(scalar(f), has_aux=True)(X, *net)[1],
    "pax.value_and_grad": lambda f, *net: pax.value_and_grad(scalar(f), has_aux=True)(X, *net)[0][
        1
    ],
    "pax.cond": lambda f, *net: pax.cond(True, f, f, *net, X),
    "pax.switch": lambda f, *net: pax.switch(0, [f, f], *net, X),
}
# Where the net is the function, or one of its parts.
PAX_FUNCTIONS = {
    "pax.scan": lambda net: pax.scan(Scan(net), 0, XS[:1]),
    "pax.map": lambda net: pax.map(net, XS[:1]),
    "pax.while_loop": lambda net: pax.while_loop(lambda s: s[0] < 1, Scan(net).next, (0, X)),
    "pax.fori_loop": lambda net: pax.fori_loop(0, 1, Scan(net).numbered, X),
    "pax.grad": lambda net: [pax.grad(Scan(net).loss)(X)],
    "pax.value_and_grad": lambda net: [pax.value_and_grad(Scan(net).loss)(X)],
}


def states(name, scan, while_loop, fori_loop):
    """Return what runs loops of which the net is a part of the state."""
    return {
        f"{name}.scan": lambda net: scan(lambda net, x: (net, net(x)), net, XS[:1]),
        f"{name}.while_loop": lambda net: while_loop(
            lambda s: s[0] < 1, lambda s: (s[0] + 1, s[1], s[1](s[2])), (0, net, X)
        ),
        f"{name}.fori_loop": lambda net: fori_loop(0, 1, lambda i, s: (s[0], s[0](s[1])), (net, X)),
    }


# Where the net is a part of the state, or what is differentiated, and comes back.
STATES = {
    **states("lax", jax.lax.scan, jax.lax.while_loop, jax.lax.fori_loop),
    **states("pax", pax.scan, pax.while_loop, pax.fori_loop),
    "pax.pure": lambda net: pax.pure(lambda net, x: (net, net(x)))(net, X),
    "pax.purecall": lambda net: pax.purecall(net, X),
    "pax.module_and_value": lambda net: pax.module_and_value(net)(X),
    "net % x": lambda net: net % X,
    "pax.grad": lambda net: pax.grad(lambda net, x: (jnp.sum(net(x)), net), has_aux=True)(net, X)[
        1
    ],
    "pax.build_update_fn": lambda net: updated(lambda net, x: net(x), net),
}


# What they transform has one argument, or a state.
ONE_ARGUMENT = ("jax.jvp", "jax.vjp", "jax.linearize", "lax.scan", "lax.map", "lax.while_loop")
ONE_ARGUMENT += ("lax.fori_loop", "lax.associative_scan")


def rows():
    """Yield the name of a transformation, the way the net is given to it, and what runs it."""
    for name, run in (JAX | PAX).items():
        if name not in ONE_ARGUMENT:
            yield name, "argument", functools.partial(run, lambda net, x: net(x))
            yield name, "argument, returned", functools.partial(run, lambda net, x: (net(x), net))
        if name not in PAX_FUNCTIONS:
            yield name, "function", run
        yield name, "captured", lambda net, run=run: run(lambda x: net(x))
    for name, run in PAX_FUNCTIONS.items():
        yield name, "function", run
    for name, run in STATES.items():
        yield name, "state, returned", run


# Of pax_jax and, for the keys of callbacks, of JAX.
REFUSALS = ("Cannot set", "not hashable", "Cannot interpret 'key<fry>' as a data type")


def outcome(run, net):
    """Return what becomes of the change that one call makes in a net."""
    before, expected = net.copy(), net.copy()
    expected(X)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = jax.block_until_ready(run(net))
            jax.effects_barrier()
        except Exception as error:
            if not any(text in str(error) for text in REFUSALS):
                raise
            return "refused" if same(net, before) else "lost"
    parts = jax.tree.leaves(result, is_leaf=lambda part: isinstance(part, pax.Module))
    back = [part for part in parts if type(part) is type(net)]
    if back and back[-1] is not net:
        return "as written" if same(net, before) and same(back[-1], expected) else "lost"
    if same(net, expected):
        return "carried out"
    told = any(issubclass(warning.category, pax.LostChangeWarning) for warning in caught)
    return "a warning" if told and same(net, before) else "lost"


def state(net):
    return [
        jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        for leaf in jax.tree.leaves(net)
    ]


def same(net, other):
    pairs = zip(jax.tree.leaves(net), jax.tree.leaves(other), strict=True)
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf, _ in pairs):
        return True  # there are no values
    return all(map(jnp.allclose, state(net), state(other)))


@pytest.mark.parametrize("name", dict.fromkeys(name for name, _, _ in rows()))
def test_no_change_is_lost_without_a_word(name):
    # BatchNorm takes long to compile; the table has it.
    found = {way: outcome(run, All(but=["BatchNorm"])) for own, way, run in rows() if own == name}
    returned = ("as written", "carried out", "refused")
    if name.startswith("pax."):
        allowed = {"captured": ("refused",), "state, returned": ("as written",)}
        found = {way: own for way, own in found.items() if own not in allowed.get(way, ())}
        assert {own for way, own in found.items() if "returned" not in way} <= {"carried out"}
        assert {own for way, own in found.items() if "returned" in way} <= {"as written"}
    elif name != "jax.debug.callback":  # which has no result
        assert {own for way, own in found.items() if "returned" in way} <= set(returned)
    assert "lost" not in found.values()


def table():
    """Yield the lines of the table."""
    yield "| transformation | the net is | " + " | ".join(PARTS) + " |"
    yield "|---" * (2 + len(PARTS)) + "|"
    for name, way, run in rows():
        found = []
        for make in PARTS.values():
            try:
                found.append(outcome(run, make()))
            except Exception as error:
                found.append(f"{type(error).__name__}: {str(error)[:90]}")
        yield f"| `{name}` | {way} | " + " | ".join(found) + " |"


if __name__ == "__main__":
    for line in table():
        print(line, flush=True)
