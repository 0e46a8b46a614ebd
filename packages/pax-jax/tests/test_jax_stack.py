"""pax_jax.Stack: a loop over layers as one scan, its layers, its options, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax

N, DIM = 4, 8
KEY = jax.random.key(3)
X = jax.random.normal(jax.random.key(0), (5, DIM))


class Layer(pax.Module):
    """Everything that a layer may have: weights, a key, averages, a counter, a tied weight."""

    back = pax.Shared("linear.weight")

    def __init__(self, rng_key):
        super().__init__()
        keys = jax.random.split(rng_key)
        self.linear = pax.Linear(DIM, DIM, rng_key=keys[0])
        self.norm = pax.BatchNorm1D(DIM)
        self.dropout = pax.Dropout(0.5, rng_key=keys[1])
        self.count = jnp.zeros((), jnp.int32)

    def __call__(self, x, scale=1.0):
        self.count = self.count + 1
        return x + scale * self.dropout(jnp.tanh(self.norm(self.linear(x)))) @ self.back.T


def stacked(**options):
    return pax.Stack(Layer, N, rng_key=KEY, **options)


def looped():
    return [Layer(key) for key in jax.random.split(KEY, N)]


def run(layers, x):
    for layer in layers:
        x = layer(x)
    return x


def close(tree, other):
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            assert (a == b).all()
        else:
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_the_layers_are_those_of_a_loop_to_the_bit():
    assert stacked().unstack() == looped()
    assert pax.Stack.of(looped()) == stacked()


@pytest.mark.parametrize("remat", [False, True, jax.checkpoint_policies.dots_saveable], ids=str)
def test_it_computes_and_changes_what_a_loop_does(remat):
    stack, layers = stacked(remat=remat), looped()
    call, loop = pax.jit(lambda net, x: net(x)), pax.jit(run)
    for _ in range(3):
        close(call(stack, X), loop(layers, X))
    close(stack.unstack(), layers)
    assert stack.layers.count.tolist() == [3] * N
    assert (stack(X) != stack(X)).any()


def test_unrolled_it_is_the_loop_to_the_bit():
    stack, layers = stacked(unroll=True), looped()
    assert (pax.jit(lambda net, x: net(x))(stack, X) == pax.jit(run)(layers, X)).all()
    assert stack.unstack() == layers


@pytest.mark.parametrize("remat", [False, True])
def test_its_gradients_are_those_of_a_loop(remat):
    stack, layers = stacked(remat=remat), looped()
    ours = pax.jit(pax.grad(lambda net, x: jnp.sum(net(x) ** 2)))(stack, X)
    theirs = pax.jit(pax.grad(lambda net, x: jnp.sum(run(net, x) ** 2)))(layers, X)
    for layer, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(layer.back, expected.back, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(layer.linear.bias, expected.linear.bias, rtol=1e-3, atol=1e-4)


def test_its_program_does_not_grow():
    lines = {
        n: len(
            pax.jit(pax.grad(lambda net, x: jnp.sum(net(x))))
            .lower(pax.Stack(Layer, n, rng_key=KEY), X)
            .as_text()
            .splitlines()
        )
        for n in (2, 20)
    }
    assert lines[2] == lines[20]


def test_its_layers_are_found_and_replaced():
    stack, layers = stacked(), looped()
    assert len(stack) == N
    assert [stack[i] == layers[i] for i in (0, -1)] == [True, True]
    assert stack[1:3].unstack() == layers[1:3]
    stack[1] = layers[3]
    assert (stack[1] == layers[3], stack[0] == layers[0]) == (True, True)
    assert stack.set(0, layers[2])[0] == layers[2]
    assert stack[0] == layers[0]


def test_modes_and_frozen_layers():
    stack = stacked().eval().freeze()
    assert (stack.training, stack.layers.dropout.training) == (False, False)
    assert jax.tree.leaves(stack.parameters()) == []
    assert (stack(X) == stack(X)).all()
    assert not stack[0].norm.training


def test_other_arguments_go_to_each_layer():
    stack, layers = stacked(), looped()
    x = X
    for layer in layers:
        x = layer(x, scale=0.5)
    close(stack(X, scale=0.5), x)


def test_a_stack_that_was_made_elsewhere_is_not_changed():
    stack = stacked()
    with pytest.raises(RuntimeError, match=r"Cannot set \w+\.\w+ here"):
        jax.jit(lambda x: stack(x))(X)
    assert stack.layers.count.tolist() == [0] * N


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: pax.Stack(Layer, 0), ValueError, "at least one layer, got n=0"),
        (lambda: pax.Stack(lambda key: 1.0, 2), TypeError, "makes a module that can be called"),
        (lambda: pax.Stack.of([]), ValueError, "at least one layer, got none"),
        (
            lambda: pax.Stack.of([pax.Linear(1, 1), pax.Linear(1, 2)]),
            ValueError,
            r"have one structure; layer 1 is Linear\(in_dim=1, out_dim=2",
        ),
        (
            lambda: pax.Stack.of([pax.Module(), pax.Module().set_attribute("a", X)]),
            ValueError,
            "have one structure",
        ),
        (
            lambda: pax.Stack.of(
                [pax.Linear(1, 1).set_attribute("bias", jnp.zeros(n)) for n in (1, 2)]
            ),
            ValueError,
            r"layer 1\.bias is float32\(2,\), and in layer 0 it is float32\(1,\)",
        ),
        (lambda: stacked()[N], IndexError, f"A Stack of {N} layers has no layer {N}"),
        (lambda: stacked()[2:2], ValueError, "leaves none"),
        (lambda: stacked().set(0, pax.Linear(1, 1)), ValueError, "have one structure"),
    ],
    ids=["none", "no module", "empty", "statics", "attributes", "shape", "index", "slice", "item"],
)
def test_what_it_refuses(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("remat", [False, True])
def test_a_transformer_of_stacked_layers_is_the_one_of_a_list(remat):
    options = {"dim": 8, "num_heads": 2, "num_layers": 3, "dropout_rate": 0.1, "remat": remat}
    looped = pax.nets.Transformer(**options, rng_key=KEY)
    net = pax.nets.Transformer(**options, rng_key=KEY, scan=True)
    assert net == looped.with_scan()
    assert net.with_scan(False) == looped == looped.with_scan(False)
    x, mask = jnp.ones((2, 5, 8)), jnp.broadcast_to(jnp.arange(5) < 4, (2, 5))
    close(net(x, mask), looped(x, mask))
    assert net.with_scan(False) == looped  # and so are the random keys
    net, looped = net.eval(), looped.eval()
    caches, others = net.initial_cache(2, 5), looped.initial_cache(2, 5)
    for i in range(2):
        caches, y = net.decode(caches, x[:, i : i + 1])
        others, expected = looped.decode(others, x[:, i : i + 1])
        close(y, expected)
    close([jax.tree.map(lambda leaf: leaf[i], caches) for i in range(3)], others)


def test_a_language_model_of_stacked_layers_generates_the_same():
    options = {"dim": 8, "num_heads": 2, "num_layers": 3, "rng_key": KEY}
    net, looped = (pax.nets.LanguageModel(16, scan=scan, **options) for scan in (True, False))
    prompt = jnp.array([[3, 1, 4]])
    assert (net.generate(prompt, 4) == looped.generate(prompt, 4)).all()
    unstacked = net.apply(
        lambda m: m.with_scan(False) if isinstance(m, pax.nets.Transformer) else m
    )
    assert unstacked.load_state_dict(looped.state_dict()) == looped


def test_what_makes_layers_takes_a_key():
    with pytest.raises(TypeError, match=r"Stack calls `make` with a random key.*cannot be called"):
        pax.Stack(lambda: pax.Linear(2, 2), 2)
    with pytest.raises(RuntimeError, match="next_rng_key") as caught:
        pax.Stack(lambda key: pax.Linear(2, 2), 2)
    assert "Stack calls `make` with a random key" in "".join(caught.value.__notes__)


def test_layers_may_have_no_arrays():
    stack = pax.Stack(lambda key: pax.Lambda(lambda x: 2.0 * x), 3)
    np.testing.assert_array_equal(stack(jnp.ones(2)), 8)
    assert jax.tree.leaves(stack) == []
