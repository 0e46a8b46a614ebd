"""What becomes of a change that a function makes in a module: never lost without a word."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from changing_modules import PARTS, All, Counter, Layers, X
from jax.experimental import io_callback

import pax_jax as pax

XS = jnp.stack([X, X + 1.0])


def call(net, x):
    return net(x)


def loss(net, x):
    return jnp.sum(net(x))


def below(limit):
    return lambda state: state[0] < limit


# Each runs a transformation of a function that calls the net, once or twice as `STEPS` says, and that
# does not return it.
PLAIN = {
    "jax.jit": lambda net: jax.jit(call)(net, X),
    "jax.jit of a method": lambda net: jax.jit(type(net).__call__)(net, X),
    "jax.vmap": lambda net: jax.vmap(call, (None, None), axis_size=2)(net, X),
    "jax.checkpoint": lambda net: jax.checkpoint(call)(net, X),
    "lax.scan of layers": lambda net: jax.lax.scan(
        lambda x, layer: (layer(x), None), X, jax.tree.map(lambda leaf: leaf[None], net)
    ),
    "lax.cond": lambda net: jax.lax.cond(True, call, lambda net, x: x, net, X),
    "lax.switch": lambda net: jax.lax.switch(0, [call, call], net, X),
}
CARRIED = {
    "pax.jit": (1, lambda net: pax.jit(call)(net, X)),
    "pax.jit of a method": (1, lambda net: pax.jit(type(net).__call__)(net, X)),
    "pax.jit of a module": (1, lambda net: pax.jit(net)(X)),
    "pax.jit, by name": (1, lambda net: pax.jit(call)(net=net, x=X)),
    "pax.jit in a list": (1, lambda net: pax.jit(lambda nets, x: nets["a"][0](x))({"a": [net]}, X)),
    "pax.jit, compiled": (1, lambda net: pax.jit(call).lower(net, X).compile()(net, X)),
    "pax.vmap": (1, lambda net: pax.vmap(call, (None, None), axis_size=2)(net, X)),
    "pax.remat": (1, lambda net: pax.remat(call)(net, X)),
    "pax.remat of a module": (1, lambda net: pax.remat(net)(X)),
    "pax.scan": (2, lambda net: pax.scan(lambda net, x: (net, net(x)), net, XS)[0]),
    "pax.scan of a method": (2, lambda net: pax.scan(Steps(net), 0, XS)),
    "pax.cond": (1, lambda net: pax.cond(True, call, lambda net, x: x, net, X)),
    "pax.cond of modules": (1, lambda net: pax.cond(True, net, net, X)),
    "pax.cond, the other": (0, lambda net: pax.cond(False, call, lambda net, x: x, net, X)),
    "pax.switch": (1, lambda net: pax.switch(1, [lambda net, x: x, call], net, X)),
    "pax.while_loop": (2, lambda net: pax.while_loop(below(2), Steps(net).next, (0, X))),
    "pax.fori_loop": (2, lambda net: pax.fori_loop(0, 2, Steps(net).numbered, X)),
    "pax.map": (2, lambda net: pax.map(net, XS)),
    "pax.grad": (1, lambda net: [pax.grad(loss)(net, X)]),
    "pax.value_and_grad": (1, lambda net: pax.value_and_grad(loss)(net, X)),
    "pax.grad, another argument": (1, lambda net: pax.grad(loss, argnums=1)(net, X)),
    "pax.grad, by name": (1, lambda net: pax.grad(lambda x, net: loss(net, x))(X, net=net)),
    "pax.grad of a method": (1, lambda net: pax.grad(Steps(net).loss)(X)),
    "pax.grad, aux": (1, lambda net: pax.grad(lambda n, x: (loss(n, x), 0), has_aux=True)(net, X)),
    "pax.grad of pax.grad": (
        1,
        lambda net: [pax.grad(lambda net, x: jnp.sum(pax.grad(loss, 1)(net, x)))(net, X)],
    ),
    "pax.jit of pax.grad": (1, lambda net: [pax.jit(pax.grad(loss))(net, X)]),
    "pax.jit of pax.remat": (1, lambda net: pax.jit(pax.remat(net))(X)),
    "jax.jit of pax.remat": (1, lambda net: jax.jit(lambda net: (pax.remat(net)(X), net))(net)[1]),
    "pax.scan of pax.cond": (
        2,
        lambda net: pax.scan(
            lambda net, x: (net, pax.cond(x.sum() < 1e6, net, pax.Identity(), x)), net, XS
        )[0],
    ),
}


class Steps(pax.Module):
    """A net as what loops call."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def __call__(self, carry, x):
        return carry, self.net(x)

    def loss(self, x):
        return jnp.sum(self.net(x))

    def next(self, state):
        return state[0] + 1, self.net(state[1])

    def numbered(self, i, x):
        return self.net(x)


def state(net):
    return [
        jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        for leaf in jax.tree.leaves(net)
    ]


def same(a, b):
    return all(bool(jnp.allclose(x, y)) for x, y in zip(state(a), state(b), strict=True))


@pytest.mark.parametrize("name", CARRIED)
def test_the_transformations_of_pax_carry_changes_out(name):
    times, transformed = CARRIED[name]
    net = All()
    expected, x = net.copy(), X
    for given in XS[:times] if "scan" in name or "map" in name else [X] * times:
        y = expected(x if "loop" in name else given)
        x = y
    result = transformed(net)
    net = result if type(result) is type(net) else net
    for name, part, changed in zip(PARTS, net.parts, expected.parts, strict=True):
        assert same(part, changed), name


@pytest.mark.parametrize("name", PLAIN)
def test_the_transformations_of_jax_warn_of_each_change_that_is_lost(name):
    net = All()
    before = net.copy()
    with pytest.warns(pax.LostChangeWarning) as caught:
        PLAIN[name](net)
    told = {str(warning.message).partition(".")[0] for warning in caught}
    assert told >= {"Dropout", "Counter", "BatchNorm1D"}
    assert same(net, before)


@pytest.mark.parametrize("transform", [jax.jit, jax.checkpoint, pax.jit, pax.remat])
def test_a_module_that_comes_back_is_as_it_is_written(transform):
    net = All()
    before, expected = net.copy(), net.copy()
    expected(X)
    changed = transform(lambda net, x: (net(x), [net]))(net, X)[1][0]
    assert same(changed, expected)
    assert same(net, before)


def test_grad_carries_out_no_module_that_comes_back():
    net = All()
    before = net.copy()
    expected = net.copy()
    expected(X)
    _, changed = pax.grad(lambda net, x: (loss(net, x), net), has_aux=True)(net, X)
    assert same(net, before)
    assert same(changed, expected)
    with pytest.raises(RuntimeError, match=r"Cannot set"):
        jax.jit(lambda x: pax.grad(loss)(net, x))(X)
    with pytest.raises(TypeError, match="two-element tuple"):
        pax.grad(loss, has_aux=True)(net, X)
    assert same(net, before)


class Scaled(Counter):
    """A net of floats only, which the derivatives of JAX take as it is."""

    def __call__(self, x):
        return jnp.sum(super().__call__(x) * x)


DERIVATIVES = {
    "grad": lambda f, net: jax.grad(f)(net, X),
    "value_and_grad": lambda f, net: jax.value_and_grad(f)(net, X),
    "jvp": lambda f, net: jax.jvp(f, (net, X), (net, X)),
    "vjp": lambda f, net: jax.vjp(f, net, X),
    "linearize": lambda f, net: jax.linearize(f, net, X),
    "jacfwd": lambda f, net: jax.jacfwd(f)(net, X),
    "jacrev": lambda f, net: jax.jacrev(f)(net, X),
    "hessian": lambda f, net: jax.hessian(f)(net, X),
    "eval_shape": lambda f, net: jax.eval_shape(f, net, X),
    "custom_jvp": lambda f, net: jax.jit(_custom_jvp(f))(net, X),
    "custom_vjp": lambda f, net: jax.jit(_custom_vjp(f))(net, X),
}


def _custom_jvp(f):
    custom = jax.custom_jvp(f)
    custom.defjvp(lambda primals, tangents: (f(*primals), f(*primals)))
    return custom


def _custom_vjp(f):
    custom = jax.custom_vjp(f)
    custom.defvjp(lambda *args: (f(*args), args), lambda args, g: args)
    return custom


@pytest.mark.parametrize("name", DERIVATIVES)
def test_the_derivatives_of_jax_warn_of_a_change_that_is_lost(name):
    net = Scaled()
    with pytest.warns(pax.LostChangeWarning, match=r"Scaled\.count"):
        DERIVATIVES[name](lambda net, x: net(x), net)
    assert net.count == 0


SHAPE = jax.ShapeDtypeStruct(X.shape, X.dtype)


def in_callback(net, x):
    return np.asarray(net(x))


def by_callback(net, x):
    return jax.pure_callback(in_callback, SHAPE, net, x)


def in_debug(net, x):
    net(x)


# What calls a function at the top level with a module that it has rebuilt, and drops it.
AT_THE_TOP = {
    "custom_jvp": lambda net: _custom_jvp(call)(net, X),
    "custom_vjp": lambda net: _custom_vjp(call)(net, X),
    "custom_gradient": lambda net: jax.custom_gradient(lambda net: (net(X), lambda g: g))(net),
    "pure_callback": lambda net: by_callback(net, X),
    "pure_callback in jit": lambda net: jax.jit(by_callback)(net, X),
    "io_callback": lambda net: io_callback(in_callback, SHAPE, net, X),
    "debug.callback": lambda net: jax.debug.callback(in_debug, net, X),
    "debug.callback in jit": lambda net: jax.jit(lambda net: jax.debug.callback(in_debug, net, X))(
        net
    ),
}


@pytest.mark.parametrize("name", AT_THE_TOP)
def test_what_is_lost_outside_of_every_transformation_is_told(name):
    net = Counter()

    def run():
        jax.block_until_ready(AT_THE_TOP[name](net))
        jax.effects_barrier()

    with pytest.warns(pax.LostChangeWarning, match=r"Counter\.count was changed inside .*callback"):
        run()
    assert net.count == 0


@pytest.mark.filterwarnings("error:.*the change is lost:UserWarning")
def test_a_change_that_comes_back_from_the_top_level_is_not_lost():
    def changed(net):
        net(X)
        return net

    for net in (
        _custom_jvp(changed)(Counter()),
        io_callback(changed, jax.eval_shape(lambda net: net, Counter()), Counter()),
        changed(jax.tree.map(lambda leaf: leaf, Counter())),
        changed(jax.jit(lambda net: net)(Counter())),
    ):
        assert net.count == 1
    jax.tree.map(lambda leaf: leaf, Counter())(X)  # a copy that was asked for


def test_all_changes_are_carried_out_or_none():
    first, last = Counter(), Counter()

    @jax.jit
    def step(x):
        own = Counter()
        for run in (
            lambda: pax.grad(lambda own, first, last: loss(own, last(first(x))))(own, first, last),
            lambda: pax.remat(lambda own, last: own(last(x)))(own, last),
            lambda: pax.cond(True, lambda own, last: own(last(x)), lambda *_: x, own, last),
        ):
            with pytest.raises(RuntimeError, match=r"Cannot set Counter\.count here"):
                run()
        return own.count

    assert step(X) == 0
    assert first.count == last.count == 0


def test_no_warning_where_nothing_is_lost():
    class Net(Layers):
        def __call__(self, x):
            self.layers[0].count = self.layers[0].count * 2.0
            return super().__call__(x)

    def step(net, x):
        net(x)
        return net.update(jax.tree.map(lambda p: p, net.parameters()))

    net = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.jit(call)(net.eval().layers[1], X)
        jax.jit(step)(net, X)
        jax.jit(lambda net, x: net % x)(net, X)
        jax.jit(pax.pure(call))(net, X)
        with pytest.raises(ZeroDivisionError):
            jax.jit(lambda net, x: (net(x), 1 / 0))(net, X)
        pax.jit(call)(net, X)
        pax.jit(pax.grad(loss))(net, X)


def test_vmap_of_modules_that_are_mapped():
    keys = jax.random.split(jax.random.key(1), 2)

    class Net(pax.Module):
        def __init__(self, key):
            super().__init__()
            self.norm, self.dropout = pax.BatchNorm1D(3), pax.Dropout(0.5, rng_key=key)

        def __call__(self, x):
            return self.dropout(self.norm(x))

    nets, single = jax.vmap(Net)(keys), [Net(key) for key in keys]
    y = pax.vmap(call)(nets, XS)
    expected = jnp.stack([net(x) for net, x in zip(single, XS, strict=True)])
    assert jnp.allclose(y, expected, atol=1e-6)
    assert same(nets, jax.tree.map(lambda *leaves: jnp.stack(leaves), *single))
    along_second = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), nets)
    axes = jax.tree.map(lambda leaf: leaf.ndim - 1, along_second)
    pax.vmap(call, in_axes=(axes, 0))(along_second, XS)
    pax.vmap(call)(nets, XS)
    assert same(along_second, jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), nets))
    with pytest.raises(ValueError, match=r"BatchNorm1D\.ema_\w+ is one array for all indices"):
        pax.vmap(pax.BatchNorm1D(3))(XS)
    norm = pax.BatchNorm1D(3, cross_replica_axis="i")
    pax.vmap(norm, axis_name="i")(XS)
    assert norm.ema_mean.shape == pax.BatchNorm1D(3).ema_mean.shape


def test_scan_changes_the_layers_it_runs_over():
    nets = jax.vmap(lambda key: pax.Dropout(0.5, rng_key=key))(
        jax.random.split(jax.random.key(0), 3)
    )
    layers = [pax.Dropout(0.5, rng_key=key) for key in jax.random.split(jax.random.key(0), 3)]
    y, _ = pax.scan(lambda x, layer: (layer(x), None), X, nets, reverse=True)
    x = X
    for layer in reversed(layers):
        x = layer(x)
    assert (y == x).all()
    assert (jnp.stack([layer.rng_key for layer in layers]) == nets.rng_key).all()


@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"unroll": 2}, {"length": 2}], ids=str)
def test_options_of_scan_are_those_of_jax(options):
    f = lambda c, x: (2.0 * c + x, c)  # noqa: E731
    ours, theirs = pax.scan(f, X, XS, **options), jax.lax.scan(f, X, XS, **options)
    assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))
    ours = pax.scan(f, X, XS, options.get("length"), options.get("reverse", False))
    assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: twice(Counter()), ValueError, "same Counter is given twice to a transformed"),
        (lambda: pax.while_loop(counting, lambda s: s, (Counter(), 0.0)), TypeError, "cond_fun of"),
        (lambda: pax.cond(True, switched, call, Counter(), X), TypeError, "structure changes"),
        (lambda: pax.remat(3), TypeError, "Expected a function or a module that can be called"),
        (lambda: pax.grad(loss)(net=Counter(), x=X), TypeError, "requires at least 1 positional"),
        (lambda: pax.grad(loss, argnums=(0, 2))(Counter(), X), TypeError, "requires at least 3"),
        (lambda: pax.grad(loss, argnums=(0, -2))(Counter(), X), ValueError, "arguments twice"),
        (lambda: pax.grad(loss, argnums=()), ValueError, "argnums is empty"),
        (lambda: pax.grad(lambda x: x * 1)(1), TypeError, "int"),
        (lambda: hash(pax.remat(Counter())), TypeError, "not hashable"),
    ],
    ids=[
        "two",
        "condition",
        "static",
        "number",
        "keyword",
        "argnums",
        "the same argnums",
        "no argnums",
        "int",
        "hash",
    ],
)
def test_what_is_refused(run, error, message):
    with pytest.raises(error, match=message):
        run()


def twice(net):
    pair = [net, net]
    return pax.remat(lambda a, b: a(X) + b(X))(*pair)


def counting(state):
    state[0](X)
    return state[1] < 1.0


def switched(net, x):
    net.training = False
    return x


def test_options_of_grad_are_those_of_jax():
    f = lambda z: z * z  # noqa: E731
    assert pax.grad(f, holomorphic=True)(1.0 + 2.0j) == jax.grad(f, holomorphic=True)(1.0 + 2.0j)
    whole = lambda tree: jnp.sum(tree["x"] * tree["n"])  # noqa: E731
    tree = {"x": X, "n": 2}
    ours, theirs = pax.grad(whole, allow_int=True)(tree), jax.grad(whole, allow_int=True)(tree)
    assert (ours["x"] == theirs["x"]).all()
    assert ours["n"].dtype == theirs["n"].dtype == jax.dtypes.float0
    assert (pax.grad(lambda a, b: jnp.sum(a * b), argnums=-1)(X, X + 1) == X).all()


def test_a_structure_that_changes_is_carried_out():
    class Lazy(pax.LazyModule):
        def __call__(self, x):
            return self.get_or_create("layer", lambda: pax.Linear(3, 2, rng_key=jax.random.key(0)))(
                x
            )

    class Net(pax.Module):
        def __init__(self):
            super().__init__()
            self.parts = [Lazy()]

        def __call__(self, x):
            self.last = x.shape
            return self.parts[0](x)

    for transform in (pax.jit, pax.remat):
        net = Net()
        part = net.parts[0]
        y = transform(net)(X)
        assert net.parts[0] is part
        assert net.last == (4, 3)
        assert jnp.allclose(part.layer(X), y, atol=1e-6)


def test_state_that_changes_is_lost_where_parameters_alone_come_back():
    def changed(net):
        net.count = net.count + 1.0
        return net.parameters()

    with pytest.warns(pax.LostChangeWarning, match=r"Counter\.count was changed"):
        jax.jit(changed)(Counter())

    def trained(layer):
        layer.weight = 2 * layer.weight
        return layer.parameters()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.jit(trained)(pax.Linear(1, 1))
        jax.jit(lambda net: (changed(net), net))(Counter())
