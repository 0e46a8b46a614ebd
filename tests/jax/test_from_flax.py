"""Modules of Flax inside pax_jax: outputs, variables and gradients are those of Flax itself."""

import pickle
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import pax_jax as pax

pytestmark = pytest.mark.usefixtures("quick_compilation")


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def tokens(*shape):
    return jnp.asarray(np.random.default_rng(0).integers(0, 7, shape), jnp.int32)


class Block(linen.Module):
    """All of linen at once: submodules, statistics, dropout, the mode, a variable of its own."""

    size: int

    @linen.compact
    def __call__(self, x, train):
        calls = self.variable("counters", "calls", lambda: jnp.zeros((), jnp.int32))
        calls.value = calls.value + 1
        for _ in range(2):
            x = linen.Dense(self.size, use_bias=False)(x)
            x = linen.relu(linen.BatchNorm(use_running_average=not train)(x))
            x = linen.Dropout(0.5, deterministic=not train)(x)
        return linen.Dense(2)(x)


ROWS, IMAGE, LINE = draw(5, 4), draw(2, 6, 6, 3), draw(2, 7, 4)
DROPOUT = {"rngs": ["dropout"]}
LINEN = {
    "dense": (linen.Dense(3), (ROWS,), {}),
    "dense-bf16": (linen.Dense(3, dtype=jnp.bfloat16), (ROWS,), {}),
    "dense-general": (linen.DenseGeneral((2, 3)), (ROWS,), {}),
    "einsum": (linen.Einsum((4, 3), "ab,bc->ac"), (ROWS,), {}),
    "conv": (linen.Conv(4, (3, 3), strides=2), (IMAGE,), {}),
    "conv-dilated": (linen.Conv(4, (3, 3), kernel_dilation=2, padding="VALID"), (IMAGE,), {}),
    "conv-transpose": (linen.ConvTranspose(4, (3, 3), strides=(2, 2)), (IMAGE,), {}),
    "conv-local": (linen.ConvLocal(4, (3,)), (LINE,), {}),
    "embed": (linen.Embed(7, 3), (tokens(2, 5),), {}),
    "layer-norm": (linen.LayerNorm(), (ROWS,), {}),
    "rms-norm": (linen.RMSNorm(), (ROWS,), {}),
    "group-norm": (linen.GroupNorm(num_groups=3), (IMAGE,), {}),
    "instance-norm": (linen.InstanceNorm(), (IMAGE,), {}),
    "weight-norm": (linen.WeightNorm(linen.Dense(3)), (ROWS,), {}),
    "batch-norm": (linen.BatchNorm(), (IMAGE,), {"mode_argument": "use_running_average"}),
    "prelu": (linen.PReLU(), (ROWS,), {}),
    "dropout": (linen.Dropout(0.5), (ROWS,), {"mode_argument": "deterministic", **DROPOUT}),
    "sequential": (linen.Sequential([linen.Dense(8), linen.relu, linen.Dense(2)]), (ROWS,), {}),
    "lstm": (linen.OptimizedLSTMCell(4), ((draw(5, 4), draw(5, 4, seed=1)), ROWS), {}),
    "gru": (linen.GRUCell(4), (draw(5, 4, seed=1), ROWS), {}),
    "rnn": (linen.RNN(linen.SimpleCell(4)), (LINE,), {}),
    "attention": (
        linen.MultiHeadDotProductAttention(2, dropout_rate=0.5),
        (LINE, LINE),
        {"mode_argument": "deterministic", **DROPOUT},
    ),
    "block": (Block(6), (ROWS,), {"mode_argument": "train", **DROPOUT}),
}


def total(out):
    leaves = jax.tree.leaves(out)
    return sum(jnp.sum(jnp.sin(leaf.astype(jnp.float32))) for leaf in leaves)


def assert_close(ours, theirs, tolerance=1e-5):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)

    def compare(a, b):
        assert a.dtype == b.dtype
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = map(jax.random.key_data, (a, b))
        a, b = (np.asarray(x, np.float32 if x.dtype == jnp.bfloat16 else None) for x in (a, b))
        np.testing.assert_allclose(a, b, tolerance, tolerance)

    jax.tree.map(compare, ours, theirs)


@jax.jit
def our_step(module, *inputs):
    def loss(params, module):
        module = module.update(params)
        out = module(*inputs)
        return total(out), (out, module)

    (_, (out, module)), grads = jax.value_and_grad(loss, has_aux=True)(module.parameters(), module)
    return out, module, grads


def modes(name):
    opposite = name in ("deterministic", "use_running_average")
    return {} if name is None else {name: not opposite}, {} if name is None else {name: opposite}


def our_run(module, options):
    """Make the variables, take two steps and evaluate, in one program."""

    def run(key, *inputs):
        ours = pax.from_flax(module, *inputs, rng_key=key, **options)
        results = [(ours.params, ours.state)]
        for _ in range(2 if options else 1):
            out, ours, grads = our_step(ours, *inputs)
            assert jax.tree.leaves((grads.state, grads.rng_key)) == []
            results.append((out, ours.state, grads.params))
        return [*results, ours.eval()(*inputs)]

    return jax.jit(run)


def their_run(module, options):
    training, evaluation = modes(options.get("mode_argument"))
    names = options.get("rngs", [])

    def streams(key):
        return dict(zip(names, jax.random.split(key, len(names)), strict=True)) if names else {}

    def run(key, *inputs):
        first = jax.random.fold_in(key, 0x696E6974)
        keys = {"params": first, **streams(jax.random.fold_in(first, 0))}
        state = module.init(keys, *inputs, **training)
        params = state.pop("params", {})
        results = [(params, state)]
        for _ in range(2 if options else 1):
            key, now = jax.random.split(key)  # as a converted module takes keys from its own

            def loss(params, state=state, now=now):
                variables = {"params": params, **state}
                given = {"rngs": streams(now), "mutable": [*state], **training}
                out, new = module.apply(variables, *inputs, **given)
                return total(out), (out, new)

            (_, (out, state)), grads = jax.value_and_grad(loss, has_aux=True)(params)
            results.append((out, state, grads))
        variables = {"params": params, **state}
        out, _ = module.apply(variables, *inputs, mutable=[*state], **evaluation)
        return [*results, out]

    return jax.jit(run)


@pytest.mark.parametrize("case", LINEN)
def test_linen_module_has_the_outputs_variables_and_gradients_of_flax(case):
    module, inputs, options = LINEN[case]
    key = jax.random.key(3)
    ours, theirs = our_run(module, options), their_run(module, options)
    # Two programs may round half precision in other places.
    assert_close(ours(key, *inputs), theirs(key, *inputs), 2e-2 if "bf16" in case else 1e-4)


NNX = {
    "linear": (lambda r: nnx.Linear(4, 3, rngs=r), (ROWS,)),
    "linear-bf16": (lambda r: nnx.Linear(4, 3, param_dtype=jnp.bfloat16, rngs=r), (ROWS,)),
    "conv": (lambda r: nnx.Conv(3, 4, (3, 3), strides=2, rngs=r), (IMAGE,)),
    "conv-transpose": (lambda r: nnx.ConvTranspose(3, 4, (3, 3), rngs=r), (IMAGE,)),
    "embed": (lambda r: nnx.Embed(7, 3, rngs=r), (tokens(2, 5),)),
    "layer-norm": (lambda r: nnx.LayerNorm(4, rngs=r), (ROWS,)),
    "rms-norm": (lambda r: nnx.RMSNorm(4, rngs=r), (ROWS,)),
    "group-norm": (lambda r: nnx.GroupNorm(3, num_groups=3, rngs=r), (IMAGE,)),
    "batch-norm": (lambda r: nnx.BatchNorm(3, rngs=r), (IMAGE,)),
    "dropout": (lambda r: nnx.Dropout(0.5, rngs=r), (ROWS,)),
    "lora": (lambda r: nnx.LoRALinear(4, 3, lora_rank=2, rngs=r), (ROWS,)),
    "lstm": (lambda r: nnx.LSTMCell(4, 4, rngs=r), ((draw(5, 4), draw(5, 4, seed=1)), ROWS)),
    "attention": (
        lambda r: nnx.MultiHeadAttention(2, 4, 4, decode=False, dropout_rate=0.5, rngs=r),
        (LINE,),
    ),
    "sequential": (
        lambda r: nnx.Sequential(
            nnx.Linear(4, 6, rngs=r),
            nnx.BatchNorm(6, rngs=r),
            nnx.Dropout(0.5, rngs=r),
            nnx.relu,
            nnx.Linear(6, 2, rngs=r),
        ),
        (ROWS,),
    ),
}


def reference_nnx(module, *inputs):
    """One call and the gradients of it, by nnx's own transforms."""

    @nnx.jit
    def step(module, *inputs):
        def loss(module):
            out = module(*inputs)
            return total(out), out

        (_, out), grads = nnx.value_and_grad(loss, has_aux=True)(module)
        return out, grads

    out, grads = step(module, *inputs)
    return out, nnx.to_pure_dict(grads)


@pytest.mark.parametrize("case", NNX)
def test_nnx_module_has_the_outputs_variables_and_gradients_of_flax(case):
    make, inputs = NNX[case]
    theirs = make(nnx.Rngs(0))
    before = nnx.to_pure_dict(nnx.state(theirs))
    ours = pax.from_flax(theirs)
    theirs.train()
    for _ in range(2):
        out, ours, grads = our_step(ours, *inputs)
        their_out, their_grads = reference_nnx(theirs, *inputs)
        assert_close((out, grads.params), (their_out, their_grads), 1e-4)
        assert_close(ours.state, nnx.to_pure_dict(nnx.state(theirs, nnx.Not(nnx.Param))))
    assert_close(ours.params, nnx.to_pure_dict(nnx.state(theirs, nnx.Param)))
    theirs.eval()
    assert_close(ours.eval()(*inputs), theirs(*inputs))
    assert_close(before, nnx.to_pure_dict(nnx.state(make(nnx.Rngs(0)))))


def test_the_given_nnx_module_does_not_change():
    theirs = nnx.Sequential(nnx.BatchNorm(4, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(1)))
    before = jax.tree.map(jnp.copy, nnx.to_pure_dict(nnx.state(theirs)))
    ours = pax.from_flax(theirs)
    ours(ROWS)
    ours.eval()(ROWS)
    again = pickle.loads(pickle.dumps(ours))
    assert again == ours
    assert_close(again(ROWS), ours(ROWS), 0)
    assert_close(nnx.to_pure_dict(nnx.state(theirs)), before, 0)
    assert not theirs.layers[1].deterministic


def test_nnx_shared_weights_stay_one_leaf():
    class Tied(nnx.Module):
        def __init__(self):
            self.embed = nnx.Embed(7, 4, rngs=nnx.Rngs(0))
            self.again = self.embed

        def __call__(self, x):
            return self.again.attend(self.embed(x))

    theirs = Tied()
    ours = pax.from_flax(theirs)
    assert len(jax.tree.leaves(ours.parameters())) == 1
    _, _, grads = our_step(ours, tokens(3))
    assert_close(grads.params, reference_nnx(theirs, tokens(3))[1], 1e-4)


def test_nnx_variables_made_by_a_call_are_an_error():
    class Growing(nnx.Module):
        def __call__(self, x):
            self.seen = nnx.BatchStat(x)
            return x

    with pytest.raises(ValueError, match=r"has made or removed variables.*seen"):
        pax.from_flax(Growing())(ROWS)


def test_linen_variables_that_exist_already():
    module = linen.Sequential([linen.Dense(8), linen.BatchNorm(use_running_average=True)])
    variables = module.init(jax.random.key(0), ROWS)
    ours = pax.from_flax(module, variables=variables)
    assert_close(ours(ROWS), module.apply(variables, ROWS))
    assert jax.tree.leaves(ours.parameters()) == jax.tree.leaves(variables["params"])


def test_linen_module_inside_a_model_is_made_by_hk_init():
    net = pax.Sequential(
        pax.Linear(4, 6), pax.from_flax(Block(6), mode_argument="train", rngs=["dropout"])
    )
    net = net.hk_init(ROWS, enable_jit=True)
    assert net.modules[1].state["counters"]["calls"] == 1  # as `init` of linen leaves it
    net(ROWS)
    assert net.modules[1].state["counters"]["calls"] == 2
    again = pickle.loads(pickle.dumps(net))
    assert again == net
    frozen = net.modules[1].freeze()
    assert jax.tree.leaves(frozen.parameters()) == []


def test_flax_modules_in_evaluation_mode_can_be_captured():
    linen_net = pax.from_flax(linen.BatchNorm(), IMAGE, mode_argument="use_running_average").eval()
    nnx_net = pax.from_flax(nnx.BatchNorm(3, rngs=nnx.Rngs(0))).eval()
    y = jax.jit(lambda x: linen_net(nnx_net(x)))(IMAGE)
    assert y.shape == IMAGE.shape
    nnx_net = nnx_net.train()
    with pytest.raises(RuntimeError, match=r"Cannot set NnxModule\.state here"):
        jax.jit(lambda x: nnx_net(x))(IMAGE)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((ROWS,), {}, "from_flax expects a module of flax.linen or flax.nnx, got"),
        ((nnx.Linear(2, 2, rngs=nnx.Rngs(0)), ROWS), {}, "takes nothing but the module"),
        ((nnx.Linear(2, 2, rngs=nnx.Rngs(0)),), DROPOUT, "takes nothing but the module"),
    ],
)
def test_what_from_flax_refuses(arguments, options, message):
    with pytest.raises(TypeError, match=message):
        pax.from_flax(*arguments, **options)


def test_flax_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "flax", None)
    with pytest.raises(ImportError, match=r"from_flax needs flax.*`pip install pax-jax\[flax\]`"):
        pax.from_flax(linen.Dense(3))
