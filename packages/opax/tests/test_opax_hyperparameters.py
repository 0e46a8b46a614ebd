"""Hyperparameters as state: read, replaced, traced, differentiated, scheduled, never drifting."""

import gc
import inspect
import warnings
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import opax

PARAMS = {"w": jnp.array([1.0, -2.0, 3.0])}
GRADS = {"w": jnp.array([0.5, 0.25, -1.0])}


def counted_step():
    """A compiled step, and how often it was traced."""
    traces = []

    @jax.jit
    def step(params, optimizer, grads):
        traces.append(None)
        return opax.apply_gradients(params, optimizer, grads)

    return step, traces


def test_replacing_does_not_compile_anew():
    step, traces = counted_step()
    optimizer = opax.chain(opax.clip_by_global_norm(1.0), opax.adamw(1e-3))(PARAMS)
    for rate in (1e-3, 0.5, 1, jnp.float32(0.1), np.float64(0.2), jnp.bfloat16(0.25)):
        changed = optimizer.replace(learning_rate=rate, weight_decay=rate)
        step(PARAMS, changed, GRADS)
        assert float(changed[-1].learning_rate) == pytest.approx(float(rate))
        assert float(changed.weight_decay) == pytest.approx(float(rate))
    assert len(traces) == 1


def test_any_other_number_becomes_state_when_it_is_replaced():
    step, traces = counted_step()
    optimizer = opax.adam(0.1)(PARAMS)
    step(PARAMS, optimizer, GRADS)
    assert optimizer.b1 == 0.9
    for b1 in (0.5, 0.6, 0.7):
        optimizer = optimizer.replace(b1=b1)
        params, _ = step(PARAMS, optimizer, GRADS)
    assert len(traces) == 2
    tx = optax.adam(0.1, b1=0.7)
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    np.testing.assert_allclose(params["w"], PARAMS["w"] + updates["w"], rtol=1e-5)


@given(st.floats(2**-20, 8.0, width=32), st.floats(0.0, 1.0, width=32))
@settings(max_examples=20, deadline=None)
def test_a_replaced_hyperparameter_is_that_of_a_new_optimizer(rate, decay):
    replaced = opax.adamw(0.5, weight_decay=0.5)(PARAMS)
    replaced = replaced.replace(learning_rate=rate, weight_decay=decay)
    made = opax.adamw(rate, weight_decay=decay)(PARAMS)
    assert replaced == made
    actual, expected = replaced.step(GRADS, PARAMS), made.step(GRADS, PARAMS)
    assert actual["w"].tolist() == expected["w"].tolist()


def test_injected_hyperparameters_are_replaced_too():
    optimizer = opax.inject_hyperparams(opax.adam)(learning_rate=0.1, b1=0.8)(PARAMS)
    assert float(optimizer.b1) == pytest.approx(0.8)
    assert float(optimizer.replace(b1=0.5).b1) == 0.5
    assert optimizer.replace(learning_rate=0.3).state.hyperparams["learning_rate"] == jnp.float32(
        0.3
    )


@pytest.mark.parametrize("library", [opax, optax])
@pytest.mark.parametrize("rate", [0.5, lambda count: 0.5 + count])
def test_a_factory_with_names_of_opax_is_injected(library, rate):
    """`optax.inject_hyperparams` calls a function of the user, here with names of opax."""
    results = []
    for package in (opax, optax):

        def factory(learning_rate, package=package):
            return package.chain(package.clip(0.7), package.sgd(learning_rate, momentum=0.5))

        tx = opax.from_optax(library.inject_hyperparams(factory)(learning_rate=rate))
        params, optimizer = PARAMS, tx(PARAMS)
        for _ in range(2):
            params, optimizer = jax.jit(opax.apply_gradients)(params, optimizer, GRADS)
        results.append((params["w"].tolist(), float(optimizer.learning_rate)))
    assert results[0] == results[1]


def test_a_factory_is_not_kept_alive():
    def used():
        held = np.ones(3)

        def factory(learning_rate):
            return optax.chain(optax.scale(held.sum()), optax.sgd(learning_rate))

        made = opax.inject_hyperparams(factory)(learning_rate=0.1)
        assert repr(made) == "inject_hyperparams(inner_factory=factory)(learning_rate=0.1)"
        return weakref.ref(held)

    held = used()
    gc.collect()
    assert held() is None


def test_the_structure_is_replaced_by_its_name():
    optimizer = opax.sgd(0.1)(PARAMS)
    copy = optimizer.replace(structure=optimizer.structure)
    assert copy == optimizer
    assert copy is not optimizer
    assert jax.tree.structure(copy) == jax.tree.structure(optimizer)
    assert optimizer.replace(structure=None, learning_rate=0.2).structure is None


def test_replace_is_functional():
    optimizer = opax.sgd(0.1)(PARAMS)
    optimizer.replace(learning_rate=0.5)
    assert optimizer.learning_rate == jnp.float32(0.1)


def test_a_population_of_learning_rates():
    rates = jnp.array([0.1, 0.2, 0.4])
    start = jax.vmap(lambda rate: opax.sgd(rate)(PARAMS))
    optimizers = start(rates)
    step = jax.vmap(opax.apply_gradients, in_axes=(None, 0, None))
    params, optimizers = step(PARAMS, optimizers, GRADS)
    expected = PARAMS["w"][None] - jnp.outer(rates, GRADS["w"])
    np.testing.assert_allclose(params["w"], expected, rtol=1e-6)
    assert optimizers.learning_rate.tolist() == rates.tolist()


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop", "lamb"])
@pytest.mark.parametrize("hyperparameter", ["learning_rate", "b1", "weight_decay", "momentum"])
def test_hypergradients_through_unrolled_steps_agree_with_finite_differences(name, hyperparameter):
    make = getattr(opax, name)
    if hyperparameter not in inspect.signature(make).parameters:
        with pytest.raises(
            AttributeError, match=f"no hyperparameter and no state '{hyperparameter}'"
        ):
            make(0.1)(PARAMS).replace(**{hyperparameter: 0.5})
        return
    with jax.enable_x64(True):
        given = {"momentum": 0.5} if hyperparameter == "momentum" else {}
        params = {"w": jnp.array([1.0, -2.0, 3.0], jnp.float64)}
        optimizer = make(0.05, **given)(params)

        def final_loss(value):
            current, state = params, optimizer.replace(**{hyperparameter: value})
            for _ in range(4):
                grads = jax.grad(loss)(current)
                current, state = opax.apply_gradients(current, state, grads)
            return loss(current)

        value, h = jnp.asarray(0.3, jnp.float64), 1e-6
        compiled = jax.jit(final_loss)
        expected = (compiled(value + h) - compiled(value - h)) / (2 * h)
        assert abs(expected) > 1e-4
        np.testing.assert_allclose(jax.grad(final_loss)(value), expected, rtol=1e-5)


def loss(params):
    return jnp.sum(jnp.sin(params["w"]) + 0.1 * params["w"] ** 2)


def makers():
    for module in (opax, opax.contrib):
        for name, make in module._generated.items():
            required = [
                p for p in inspect.signature(make).parameters.values() if p.default is p.empty
            ]
            if name != "scale_by_muon" and [p.name for p in required] in ([], ["learning_rate"]):
                yield pytest.param(make, [0.1] * len(required), id=name)


VALUES = {"momo", "momo_adam", "polyak_sgd", "scale_by_polyak", "reduce_on_plateau"}


@pytest.mark.parametrize(("make", "arguments"), list(makers()))
def test_dtypes_do_not_drift_for_bfloat16_parameters(make, arguments):
    """Traced only: a step gives back parameters and a state of the dtypes it was given."""
    params = {"w": jnp.ones((2, 2), jnp.bfloat16)}
    extra_args = {"value": jnp.float32(1.0)} if make.__name__ in VALUES else {}
    if "sophia" in make.__name__ or "hutchinson" in make.__name__:
        extra_args = {"obj_fn": lambda p: jnp.sum(p["w"] ** 2)}
    if make.__name__ == "lbfgs":
        extra_args = {
            "value": jnp.float32(1.0),
            "grad": params,
            "value_fn": lambda p: jnp.sum(p["w"] ** 2).astype(jnp.float32),
        }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = jax.eval_shape(make(*arguments).init, params)
        after = jax.eval_shape(
            lambda params, optimizer: opax.apply_gradients(params, optimizer, params, **extra_args),
            params,
            before,
        )
    assert outline(after) == outline((params, before))


def outline(tree):
    return [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]


def test_schedules_are_read_at_the_step_that_comes_next():
    schedule = opax.schedule.linear_schedule(1.0, 0.0, 4)
    optimizer = opax.chain(opax.clip(9.0), opax.sgd(schedule))(PARAMS)
    params, seen = PARAMS, []
    for step in range(4):
        seen.append(float(optimizer[-1].learning_rate))
        new, optimizer = opax.apply_gradients(params, optimizer, GRADS)
        np.testing.assert_allclose(new["w"], params["w"] - float(schedule(step)) * GRADS["w"], 1e-6)
        params = new
    assert seen == [1.0, 0.75, 0.5, 0.25]
    resumed = opax.chain(opax.clip(9.0), opax.sgd(schedule))(PARAMS).replace(state=optimizer.state)
    assert float(resumed.learning_rate) == 0.0
    with pytest.raises(AttributeError, match=r"1\.learning_rate of .* follows a schedule"):
        optimizer.replace(learning_rate=0.1)


def test_decay_schedules():
    optimizer = opax.adamw(0.1, weight_decay=opax.schedule.linear_schedule(1.0, 0.0, 2))(PARAMS)
    assert float(optimizer.weight_decay) == 1.0
    _, optimizer = opax.apply_gradients(PARAMS, optimizer, GRADS)
    assert float(optimizer.weight_decay) == 0.5


def test_equal_schedules_share_a_compiled_step():
    step, traces = counted_step()
    for decay in (10, 10, 20):
        step(PARAMS, opax.adam(opax.schedule.cosine_decay_schedule(0.1, decay))(PARAMS), GRADS)
    assert len(traces) == 2


def test_which_of_two_has_to_be_said():
    optimizer = opax.chain(opax.sgd(0.1), opax.adam(0.2))(PARAMS)
    with pytest.raises(
        AttributeError, match=r"2 of the name 'learning_rate': 0\.learning_rate, 1\."
    ):
        optimizer.replace(learning_rate=0.5)
    with pytest.raises(AttributeError, match="2 of the name 'learning_rate'"):
        _ = optimizer.learning_rate
    optimizer = optimizer.replace(**{"1.learning_rate": 0.5})
    assert [float(each.learning_rate) for each in optimizer] == pytest.approx([0.1, 0.5])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nesterov", "nesterov of adam.* is False, which is part of what is compiled"),
        ("rate", "adam.* has no hyperparameter and no state 'rate'"),
    ],
)
def test_what_cannot_be_replaced(name, message):
    with pytest.raises(AttributeError, match=message):
        opax.adam(0.1)(PARAMS).replace(**{name: 0.5})


def test_assigning_says_what_to_do():
    optimizer = opax.adam(0.1)(PARAMS)
    with pytest.raises(
        AttributeError, match=r"optimizer = optimizer.replace\(learning_rate=\.\.\.\)"
    ):
        optimizer.learning_rate = 0.5
    assert optimizer.learning_rate == jnp.float32(0.1)
