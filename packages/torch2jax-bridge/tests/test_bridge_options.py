"""out=, input_output_aliases=, vmap_method=, randomness= and debug=."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from torch2jax_bridge import torch2jax

X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
Y = jnp.cos(X)
Failure = jax.errors.JaxRuntimeError


def test_bridge_out_of_a_torch_function():
    wrapped = torch2jax(torch.add, out=True)
    np.testing.assert_allclose(wrapped(X, Y, alpha=2), X + 2 * Y, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(wrapped)(X, Y), X + Y, rtol=1e-6)
    got = jax.grad(lambda x, y: (wrapped(x, y) ** 2).sum(), (0, 1))(X, Y)
    for gradient in got:
        np.testing.assert_allclose(gradient, 2 * (X + Y), rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(wrapped)(X, Y), X + Y, rtol=1e-6)


def test_bridge_out_is_memory_of_xla():
    seen = []

    def function(x, out):
        seen.append(out["a"].data_ptr())
        out["a"].copy_(x * 2)
        torch.sum(x, 0, out=out["b"])

    shapes = {"a": X, "b": X[0]}
    result = jax.jit(torch2jax(function, out=True, output_shapes=shapes))(X)
    assert seen == [result["a"].unsafe_buffer_pointer()]
    np.testing.assert_array_equal(result["a"], 2 * X)
    np.testing.assert_allclose(result["b"], X.sum(0), atol=1e-6)


def test_bridge_out_with_given_shapes_is_differentiable_where_its_operations_are():
    def function(x, out):
        out.copy_(torch.sin(x))

    wrapped = torch2jax(function, out=True, output_shapes=X)
    np.testing.assert_allclose(jax.grad(lambda x: wrapped(x).sum())(X), jnp.cos(X), rtol=1e-6)
    np.testing.assert_allclose(jax.jvp(wrapped, (X,), (Y,))[1], jnp.cos(X) * Y, rtol=1e-6)


def test_bridge_aliased_argument_is_changed_in_the_memory_of_the_result():
    seen = []

    def function(x, y):
        seen.append(x.data_ptr())
        return x.mul_(2).add_(y), y.sum()

    shapes = (X, jnp.float32(0))
    wrapped = torch2jax(function, output_shapes=shapes, input_output_aliases={0: 0})
    step = jax.jit(wrapped, donate_argnums=0)
    for call in (wrapped, jax.jit(wrapped), lambda x, y: step(x + 0, y)):
        result, total = call(X, Y)
        np.testing.assert_allclose(result, 2 * X + Y, rtol=1e-6)
        np.testing.assert_allclose(total, Y.sum(), rtol=1e-6)
        assert seen[-1] == result.unsafe_buffer_pointer()
    np.testing.assert_array_equal(X, jnp.linspace(-1.0, 1.0, 12).reshape(4, 3))


@pytest.mark.parametrize("name", ["grad", "jvp", "vmap", "hessian"])
def test_bridge_transforms_of_a_function_with_aliases(name):
    def in_place(x, y):
        return x.mul_(y).sin_()

    def pure(x, y):
        return jnp.sin(x * y)

    transform = {
        "grad": lambda f: jax.grad(lambda x: (f(x, Y) ** 2).sum())(X),
        "jvp": lambda f: jax.jvp(f, (X, Y), (Y, X)),
        "vmap": lambda f: jax.vmap(f)(X, Y),
        "hessian": lambda f: jax.hessian(lambda x: f(x, Y[0]).sum())(X[0]),
    }[name]
    got = transform(torch2jax(in_place, input_output_aliases={0: 0}))
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(transform(pure)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(X, jnp.linspace(-1.0, 1.0, 12).reshape(4, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_output_aliases": {0: 3}}, "has 0: 3, but add has 2 array arguments and 1 results"),
        ({"input_output_aliases": {5: 0}}, "has 5: 0"),
        ({"input_output_aliases": {0: 0, 1: 0}}, "gives one result two arguments"),
        ({"input_output_aliases": {0: 0}, "out": True}, "both given"),
        ({"vmap_method": "fast"}, "vmap_method is 'fast', expected one of None, 'sequential'"),
        ({"randomness": None}, "randomness is None, expected one of 'error', 'different', 'same'"),
    ],
    ids=["result", "argument", "twice", "both", "method", "randomness"],
)
def test_bridge_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        torch2jax(torch.add, **options)(X, Y)


def test_bridge_aliases_of_different_shapes():
    with pytest.raises(ValueError, match=r"is float32\[4, 3\] and result 0 is float32\[\]"):
        torch2jax(torch.sum, input_output_aliases={0: 0})(X)


METHODS = ["sequential", "sequential_unrolled", "expand_dims", "broadcast_all"]


@pytest.mark.parametrize("method", [None, *METHODS])
@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 1)], ids=str)
def test_bridge_vmap_methods_agree_with_jax(method, axes):
    def function(xp, x, y):
        return xp.sin(x) * y + xp.sqrt(x * x + 1)  # element by element: works with axes in front

    wrapped = torch2jax(lambda x, y: function(torch, x, y), vmap_method=method)
    args = [X.T if axis == 1 else X[0] if axis is None else X for axis in axes]

    def compare(transform):
        got = transform(wrapped)
        want = transform(lambda x, y: function(jnp, x, y))
        for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)

    compare(lambda f: jax.jit(jax.vmap(f, axes))(*args))
    compare(lambda f: jax.vmap(jax.grad(lambda x, y: f(x, y).sum(), (0, 1)), axes)(*args))
    compare(lambda f: jax.grad(lambda *a: jax.vmap(f, axes)(*a).sum(), (0, 1))(*args))
    compare(lambda f: jax.vmap(lambda x, y: jax.jvp(f, (x, y), (y, x)), axes)(*args))
    compare(lambda f: jax.vmap(jax.vmap(f, (None, 0)), (0, None))(X, Y))


@pytest.mark.parametrize("method", METHODS)
def test_bridge_vmap_methods_call_as_they_say(method):
    shapes = []

    def function(x, y):
        shapes.append((tuple(x.shape), tuple(y.shape)))
        return x + y

    wrapped = torch2jax(function, output_shapes=X[0], vmap_method=method)
    np.testing.assert_allclose(jax.vmap(wrapped, (0, None))(X, Y[0]), X + Y[0], rtol=1e-6)
    assert (
        shapes
        == {
            "sequential": [((3,), (3,))] * 4,
            "sequential_unrolled": [((3,), (3,))] * 4,
            "expand_dims": [((4, 3), (1, 3))],
            "broadcast_all": [((4, 3), (4, 3))],
        }[method]
    )


def test_bridge_function_that_reads_values_is_batched_sequentially():
    def function(x):
        return x * 2 if x.sum().item() > 0 else -x

    wrapped = torch2jax(function, output_shapes=X[0], vmap_method="sequential")
    want = np.stack([row * 2 if row.sum() > 0 else -row for row in np.asarray(X)])
    np.testing.assert_allclose(jax.vmap(wrapped)(X), want)


def test_bridge_randomness_of_vmap():
    def function(x):
        return x + torch.rand(3)

    ones = jnp.ones((4, 3))
    with pytest.raises(Failure, match="randomness"):
        jax.block_until_ready(jax.vmap(torch2jax(function))(ones))
    same = jax.vmap(torch2jax(function, randomness="same"))(ones)
    np.testing.assert_array_equal(same, jnp.broadcast_to(same[0], same.shape))
    different = jax.vmap(torch2jax(function, randomness="different"))(ones)
    assert len(np.unique(different)) == 12


KEPT = []


def hidden_change(x, weights):
    weights["w"].data.add_(1)  # seen by no version counter
    return x + weights["w"]


DEBUGGED = {
    "changes": (hidden_change, r"hidden_change .*number 1 \(args\[1\]\['w'\]\) in place"),
    "nan": (lambda x, w: torch.log(x - 5), "FloatingPointError: Result 0 has a NaN"),
    "keeps": (
        lambda x, w: KEPT.append(x) or x + 1,
        r"kept its array argument number 0 \(args\[0\]",
    ),
    "keeps_view": (lambda x, w: KEPT.append(x[1:]) or x + 1, r"number 0 \(args\[0\]\), or a view"),
    "device": (lambda x, w: x.to("meta"), "meta|Result 0"),
}


@pytest.mark.parametrize(("function", "message"), DEBUGGED.values(), ids=DEBUGGED)
def test_bridge_debug_finds(function, message):
    args = X + 1, {"w": Y + 0}
    with pytest.raises(Failure, match=message):
        jax.block_until_ready(torch2jax(function, output_shapes=X, debug=True)(*args))
    KEPT.clear()


def test_bridge_debug_finds_a_call_of_jax():
    def function(x):
        return x + float(jnp.ones(3).sum())

    jnp.ones(3).sum()
    with pytest.raises(Failure, match=r"function called from JAX failed.*JAX tried to execute"):
        jax.block_until_ready(torch2jax(function, output_shapes=X, debug=True)(X))


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "bfloat16", "float32", "complex64", "float8_e5m2"]
)
def test_bridge_debug_lets_a_clean_function_pass(dtype):
    x = jnp.ones((3, 2)).astype(dtype)
    np.testing.assert_array_equal(torch2jax(lambda t: t.clone(), debug=True)(x), x)
    np.testing.assert_array_equal(torch2jax(lambda t: t[0, 0].clone(), debug=True)(x), x[0, 0])


def test_bridge_debug_lets_nans_pass_that_were_given():
    x = jnp.array([jnp.nan, 1.0])
    np.testing.assert_array_equal(torch2jax(lambda t: t + 1, debug=True)(x), x + 1)


def test_bridge_debug_in_derivatives():
    wrapped = torch2jax(lambda x: torch.sqrt(x).sum(), debug=True)
    np.testing.assert_allclose(jax.grad(wrapped)(Y), 0.5 / jnp.sqrt(Y), rtol=1e-5)
    wrapped = torch2jax(lambda x: (x * torch.sqrt(x)).sum() * 0, debug=True)
    with pytest.raises(Failure, match="has a NaN"):
        jax.block_until_ready(jax.grad(wrapped)(jnp.zeros(2)))


@pytest.mark.parametrize(("value", "raises"), [("1", True), ("0", False), ("", False)])
def test_bridge_debug_from_the_environment(monkeypatch, value, raises):
    monkeypatch.setenv("TORCH2JAX_BRIDGE_DEBUG", value)
    wrapped = torch2jax(lambda x: torch.log(x))
    assert np.isnan(torch2jax(lambda x: torch.log(x), debug=False)(-Y)).all()
    if raises:
        with pytest.raises(Failure, match="has a NaN"):
            jax.block_until_ready(wrapped(-Y))
    else:
        assert np.isnan(wrapped(-Y)).all()


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 5)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(torch.tanh(self.linear(x)))


@pytest.fixture
def noisy():
    torch.manual_seed(0)
    apply, params, _ = torch2jax(Noisy())
    return lambda key, x, training=True: apply(params, x, rng=key, is_training=training)[0]


def test_bridge_module_key_decides_the_numbers(noisy):
    before = torch.get_rng_state()
    keys = [jax.random.key(i) for i in range(3)]
    outs = [np.asarray(noisy(key, X)) for key in keys]
    for key, out in zip(keys, outs, strict=True):
        np.testing.assert_array_equal(noisy(key, X), out)
        np.testing.assert_array_equal(jax.jit(noisy)(key, X), out)
        np.testing.assert_array_equal(noisy(jax.random.key_data(key), X), out)
    assert not np.array_equal(outs[0], outs[1])
    assert torch.equal(before, torch.get_rng_state())
    assert (noisy(keys[0], X, False) != 0).all()


def test_bridge_module_key_in_derivatives(noisy):
    key = jax.random.key(7)
    mask = np.asarray(noisy(key, X)) != 0
    assert 0 < mask.sum() < mask.size
    jacobian = jax.jacfwd(lambda x: noisy(key, x))(X)
    np.testing.assert_allclose(jax.jacrev(lambda x: noisy(key, x))(X), jacobian, rtol=1e-5)
    assert (np.abs(jacobian).sum((2, 3)) > 0).tolist() == mask.tolist()
    looped = jax.grad(
        lambda x: jax.lax.scan(lambda c, k: (c + noisy(k, x).sum(), None), 0.0, keys(5))[0]
    )(X)
    each = sum(jax.grad(lambda x, k=k: noisy(k, x).sum())(X) for k in keys(5))
    np.testing.assert_allclose(looped, each, rtol=1e-5, atol=1e-6)


def keys(count):
    return jax.random.split(jax.random.key(1), count)


def test_bridge_module_key_under_vmap(noisy):
    alone = np.stack([noisy(key, x) for key, x in zip(keys(4), X, strict=True)])
    np.testing.assert_allclose(jax.vmap(noisy)(keys(4), X), alone, rtol=1e-6)
    shared = np.stack([noisy(keys(1)[0], x) for x in X])
    np.testing.assert_allclose(
        jax.vmap(noisy, (None, 0))(keys(1)[0], X), shared, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("key", [3, None, np.zeros(2, np.float32), "key"], ids=str)
def test_bridge_module_key_must_be_one(noisy, key):
    if key is None:
        assert noisy(None, X).shape == (4, 5)
    else:
        with pytest.raises(TypeError, match=r"expected one key of jax.random.key"):
            noisy(key, X)
    with pytest.raises(TypeError, match=r"expected one key of jax.random.key"):
        noisy(keys(3), X)
