"""Modules with rich and jmp: the table, mixed precision, scaled gradients; and without them."""

import pickle
import sys

import jax
import jax.numpy as jnp
import jmp
import numpy as np
import pytest

import opax
import pax_jax as pax
from pax_jax.experimental import apply_scaled_gradients, default_mp_policy

HALF = jmp.get_policy("params=float32,compute=float16,output=float32")


@pytest.fixture(autouse=True)
def strict_promotion():
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def test_a_table_has_every_array_and_the_sums():
    net = pax.Sequential(pax.Linear(2, 3), pax.BatchNorm1D(3), jax.nn.relu).freeze()
    net.modules[0] = net.modules[0].unfreeze()
    lines = net.summary(table=True, return_list=True)
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if "│" in line]
    assert rows[0] == [".modules[0].weight", "parameter", "2x3", "float32", "6", "24"]
    assert rows[2] == [".modules[1].scale", "state", "3", "float32", "3", "12"]
    assert rows[-2:] == [["parameters", "", "", "", "9", "36"], ["all", "", "", "", "22", "88"]]
    assert len(rows) == len(jax.tree.leaves(net)) + 2
    assert net.summary(table=True) == "\n".join(lines)


def test_a_table_has_abstract_arrays_and_random_keys():
    shapes = jax.eval_shape(lambda: pax.Linear(1000, 1000, rng_key=jax.random.key(0)))
    assert "4,004,000" in shapes.summary(table=True)
    assert "key<fry>" in pax.Dropout(0.5).summary(table=True)


MISSING = {
    "rich": lambda: pax.Linear(1, 1).summary(table=True),
    "jmp": lambda: pax.apply_mp_policy(pax.Linear(1, 1), HALF),
    "jmp (default)": lambda: default_mp_policy(pax.Linear(1, 1)),
    "jmp (scaled)": lambda: apply_scaled_gradients(None, None, None, None),
}


@pytest.mark.parametrize(("name", "call"), MISSING.items(), ids=MISSING)
def test_without_the_extra_an_error_names_what_to_install(name, call, monkeypatch):
    module = name.split()[0]
    for loaded in [key for key in sys.modules if key.partition(".")[0] == module]:
        monkeypatch.setitem(sys.modules, loaded, None)
    with pytest.raises(ImportError, match=rf"needs {module}.*`pip install pax-jax\[{module}\]`"):
        call()


class Recorder(pax.Module):
    """Notes in what dtype it computes, and counts in a state."""

    parameters = pax.parameters_method("weight")

    def __init__(self):
        super().__init__()
        self.weight = jnp.ones((2, 2))
        self.total = jnp.zeros(2)
        self.calls = jnp.zeros((), jnp.int32)
        self.inner = pax.BatchNorm1D(2)

    def __call__(self, x):
        assert self.weight.dtype == x.dtype == jnp.float16
        self.total = self.total + x.sum(0).astype(jnp.float32)
        self.calls = self.calls + 1
        return self.twice(self.inner(x) @ self.weight)

    def twice(self, x):
        assert x.dtype == jnp.float16
        return x + x

    @staticmethod
    def plain(x):
        return x

    @property
    def size(self):
        return self.weight.size


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, pax.jit], ids=["plain", "jax.jit", "jit"])
def test_a_policy_casts_arguments_parameters_states_and_results(wrap):
    module = pax.apply_mp_policy(Recorder(), HALF)

    def call(module, x):
        y = module(x)
        return module, y

    with jax.checking_leaks():
        module, y = wrap(call)(module, jnp.ones((4, 2)))
    assert y.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(module)} == {np.dtype("f4"), np.dtype("i4")}
    assert module.total.tolist() == [4.0, 4.0]
    assert int(module.calls) == 1
    assert float(module.inner.ema_weight) == pytest.approx(0.1, rel=1e-3)


def test_what_a_call_does_not_change_stays_the_same_array():
    module = pax.apply_mp_policy(Recorder(), HALF)
    weight, total = module.weight, module.total
    module(jnp.ones((4, 2)))
    assert module.weight is weight
    assert module.total is not total


def test_a_call_that_changes_one_layer_leaves_the_others_as_exact_as_they_were():
    net = pax.Sequential(pax.Linear(3, 3), pax.BatchNorm1D(3))
    mixed = pax.apply_mp_policy(net, HALF)
    layer, weight = mixed[0], mixed[0].weight
    mixed(jnp.ones((4, 3)))
    assert mixed[0] is layer
    assert mixed[0].weight is weight
    assert mixed[1].ema_weight.dtype == jnp.float32
    assert mixed[1].ema_weight > 0


def test_a_policy_reaches_the_methods_of_a_class_and_nothing_else():
    module = pax.apply_mp_policy(Recorder(), HALF)
    assert module.twice(jnp.ones(2)).dtype == jnp.float32
    assert module.plain(jnp.ones(2)).dtype == jnp.float32
    assert module.size == 4
    assert isinstance(module, Recorder)
    assert module.parameters().weight is module.weight
    assert module.summary(arrays=False).splitlines()[0] == "Recorder(mp_policy=FHF)"


def test_a_policy_is_part_of_the_structure_and_survives_copies_and_pickles():
    layer = pax.Linear(2, 2)
    module = pax.apply_mp_policy(layer, HALF)
    full = pax.apply_mp_policy(layer, jmp.get_policy("float32"))
    assert type(module) is type(full)
    assert jax.tree.structure(module) != jax.tree.structure(full)
    assert module == module.copy() == pickle.loads(pickle.dumps(module))
    line = "Linear(in_dim=2, out_dim=2, with_bias=True, mp_policy=FHF)"
    assert module.eval().summary(arrays=False) == line
    assert repr(module).startswith(
        "Linear(\n  in_dim=2, out_dim=2, with_bias=True, mp_policy=FHF,\n"
    )


def test_gradients_are_in_the_dtype_of_parameters():
    module = pax.apply_mp_policy(pax.Linear(2, 2), HALF)
    grads = pax.grad(lambda module, x: jnp.sum(module(x)))(module, jnp.ones((4, 2)))
    assert grads.weight.dtype == jnp.float32


def test_unwrapping_gives_the_module_back():
    layer = pax.Linear(2, 2)
    wrapped = pax.apply_mp_policy(layer, HALF)
    assert pax.unwrap_mp_policy(wrapped) == layer
    assert pax.unwrap_mp_policy(layer) == layer
    net = pax.Sequential(wrapped, jax.nn.relu).apply(pax.unwrap_mp_policy)
    assert net.modules[0] == layer


def test_two_policies_raise_and_no_policy_too():
    wrapped = pax.apply_mp_policy(pax.Linear(2, 2), HALF)
    with pytest.raises(ValueError, match=r"Linear\(.*FHF\) has a mixed-precision policy already"):
        pax.apply_mp_policy(wrapped, HALF)
    with pytest.raises(
        TypeError, match=r"expects a jmp\.Policy, such as .*, got 'half' of type str"
    ):
        pax.apply_mp_policy(pax.Linear(2, 2), "half")


def test_the_default_policy_halves_layers_and_not_norms():
    net = pax.Sequential(pax.Conv2D(3, 4, 3), pax.BatchNorm2D(4), jax.nn.relu, pax.Dropout(0.5))
    net = net.apply(default_mp_policy)
    lines = [module.summary(arrays=False) for module in net.modules]
    letters = [line.partition("mp_policy=")[2] for line in lines]
    assert letters == ["FHF)", "FFF)", "", ""]
    assert net(jnp.ones((1, 8, 8, 3))).dtype == jnp.float32


SCALES = {
    "none": lambda: jmp.NoOpLossScale(),
    "static": lambda: jmp.StaticLossScale(jnp.float32(8.0)),
    "dynamic": lambda: jmp.DynamicLossScale(jnp.float32(8.0), period=2),
}


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_scaled_gradients_make_the_step_of_the_unscaled_ones(scale, wrap):
    net, loss_scale = pax.Sequential(pax.Linear(2, 2), pax.Dropout(0.5)), scale()
    optimizer = opax.adam(0.1)(net.parameters())
    grads = jax.tree.map(jnp.ones_like, net.parameters())
    new, stepped, _ = wrap(apply_scaled_gradients)(
        net, optimizer, loss_scale, loss_scale.scale(grads)
    )
    expected, same = opax.apply_gradients(net, optimizer, grads)
    for a, b in zip(
        jax.tree.leaves((~new, stepped)), jax.tree.leaves((~expected, same)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert int(optimizer[0].count) == 0


@pytest.mark.parametrize("bad", [jnp.inf, jnp.nan], ids=str)
def test_steps_that_are_not_finite_are_skipped(bad):
    net, loss_scale = pax.Sequential(pax.Linear(2, 2), pax.Dropout(0.5)), SCALES["dynamic"]()
    optimizer = opax.adam(0.1)(net.parameters())
    grads = jax.tree.map(jnp.ones_like, net.parameters())
    grads = grads.replace_node(grads.modules[0].bias, jnp.array([1.0, bad]))
    new, stepped, adjusted = jax.jit(apply_scaled_gradients)(net, optimizer, loss_scale, grads)
    assert new == net
    assert stepped == optimizer
    assert float(adjusted.loss_scale) == 4.0


class Student(pax.Module):
    def __init__(self):
        super().__init__()
        self.student = pax.BatchNorm1D(2)
        self.others = [pax.BatchNorm1D(2)]

    def __call__(self, x):
        return self.student(self.others[0](x))

    def reset(self, fresh):
        self.student = fresh

    def swap(self):
        self.student, self.others = self.others[0], [self.student]

    def call_copy(self, x):
        self.student = self.student.copy()
        return self.student(x)


def test_a_module_that_a_method_replaces_stays_as_it_was():
    module = pax.apply_mp_policy(Student(), HALF)
    before, other = module.student, module.others[0]
    module(jnp.ones((4, 2)))
    assert module.student is before
    assert module.others[0] is other
    assert other.ema_mean.tolist() == [1.0, 1.0]
    values = before.ema_mean.tolist()
    module.call_copy(jnp.full((4, 2), 3.0))
    copied = module.student
    assert copied is not before
    assert copied.ema_mean.tolist() != values
    module.swap()
    assert module.student.ema_mean.tolist() == [1.0, 1.0]
    assert copied.ema_mean.tolist() != [1.0, 1.0]
    module.reset(pax.BatchNorm1D(2).map(lambda x: x + 5))
    assert module.student.ema_mean.tolist() == [5.0, 5.0]
    assert module.student.ema_mean.dtype == jnp.float32
    assert before.ema_mean.tolist() == values
    assert other.ema_mean.tolist() == [1.0, 1.0]


def test_averages_move_on_under_a_policy_as_without_it():
    draw = np.random.RandomState(0)
    batches = [draw.randn(32, 1) if i < 20 else draw.randn(32, 1) * 0.5 + 3 for i in range(150)]
    batches = jnp.asarray(np.stack(batches), jnp.bfloat16).astype(jnp.float32)
    half = jmp.get_policy("params=bfloat16,compute=bfloat16,output=float32")

    @jax.jit
    def run(modules, batches):
        def step(modules, x):
            for module in modules:
                module(x)
            return modules, None

        return jax.lax.scan(step, modules, batches)[0]

    for make in (
        lambda: pax.BatchNorm1D(1, False, False, decay_rate=0.999),
        lambda: pax.EMA(jnp.zeros((32, 1)), 0.999, debias=True),
        lambda: pax.Sequential(pax.BatchNorm1D(1, False, False, 0.99), pax.EMA(batches[0], 0.99)),
    ):
        full = make()
        mixed = pax.apply_mp_policy(full, half)
        expected, averaged = run([full, mixed], batches)
        pairs = zip(*map(jax.tree.leaves, (expected, averaged)), strict=True)
        for a, b in pairs:
            assert a.dtype == b.dtype == jnp.float32
            np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-3)


def test_a_policy_casts_frozen_parameters_and_no_states():
    policy = jmp.get_policy("params=float16,compute=bfloat16,output=float32")
    module = pax.apply_mp_policy(
        pax.Sequential(pax.Linear(2, 2), pax.BatchNorm1D(2)).freeze(), policy
    )
    assert module[0].weight.dtype == jnp.float16
    assert module[1].ema_mean.dtype == jnp.float32
    seen = []

    def spy(self, x):
        seen.append(self.weight.dtype)
        return x

    module[0] = module[0].replace_method(__call__=spy)
    module(jnp.ones((4, 2)))
    assert seen == [jnp.bfloat16]


def test_what_a_call_registers_under_a_policy_stays_a_parameter():
    class Lazy(pax.Module):
        def __call__(self, x):
            self.register_parameter("scale", jnp.ones(2))
            self.scale_is = "made"
            return x * self.scale.astype(x.dtype)

    policy = jmp.Policy(jnp.float32, jnp.float16, jnp.float16)
    module = pax.apply_mp_policy(Lazy(), mp_policy=policy)
    module(jnp.ones(2))
    assert module.parameters().scale is not None
    assert pax.unwrap_mp_policy(module).scale_is == "made"
