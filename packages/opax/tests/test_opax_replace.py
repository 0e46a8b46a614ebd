"""What is replaced is used, and what is read is what the next step uses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import opax

PARAMS = {"w": jnp.ones(2)}
GRADS = {"w": jnp.ones(2)}


def moved(optimizer, steps=1):
    """How far the parameters are moved by constant gradients."""
    params = PARAMS
    for _ in range(steps):
        params, optimizer = opax.apply_gradients(params, optimizer, GRADS)
    return float(1 - params["w"][0])


WRAPPERS = {
    "alone": lambda tx: tx,
    "chain": lambda tx: opax.chain(opax.clip(9.0), tx),
    "named_chain": lambda tx: opax.named_chain(("z", opax.clip(9.0)), ("a", tx)),
    "partition": lambda tx: opax.partition({"b": opax.adam(0.3), "a": tx}, {"w": "a", "u": "b"}),
    "masked": lambda tx: opax.masked(tx, "w"),
    "MultiSteps": lambda tx: opax.MultiSteps(tx, 1),
    "apply_if_finite": lambda tx: opax.apply_if_finite(tx, 3),
    "flatten": lambda tx: opax.flatten(tx),
    "flattened": lambda tx: opax.flattened(tx),
    "with_extra_args_support": lambda tx: opax.with_extra_args_support(tx),
    "from_optax": lambda tx: opax.from_optax(tx.tx),
    "conditionally_mask": lambda tx: opax.conditionally_mask(tx, lambda step, **extra: step >= 0),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_an_injected_rate_in_a_wrapper(wrapper):
    tx = WRAPPERS[wrapper](opax.inject_hyperparams(opax.sgd)(learning_rate=0.1))
    two = wrapper == "partition"
    params = {"w": jnp.ones(2), "u": jnp.ones(2)} if two else PARAMS
    name = "transforms.a.learning_rate" if two else "learning_rate"
    optimizer = tx(params).replace(**{name: 0.5})
    new, optimizer = opax.apply_gradients(params, optimizer, jax.tree.map(jnp.ones_like, params))
    np.testing.assert_allclose(new["w"], 0.5)
    if not two:
        assert float(optimizer.learning_rate) == 0.5
    if wrapper != "from_optax":
        assert "0.5" in repr(optimizer)
        assert "0.1" not in repr(optimizer)
    assert "0.1" not in optimizer.summary()
    if wrapper == "chain":
        assert float(optimizer[1].learning_rate) == 0.5
        assert moved(tx(PARAMS).replace(**{"1.learning_rate": 0.25})) == 0.25


def test_an_injected_value_that_was_not_given():
    optimizer = opax.inject_hyperparams(opax.adam)(learning_rate=0.1)(PARAMS)
    assert repr(optimizer) == "inject_hyperparams(inner_factory=adam)(learning_rate=0.1)"
    assert "b1=0.5" in repr(optimizer.replace(b1=0.5))
    assert float(optimizer.replace(b1=0.5).b1) == 0.5


def test_the_idiom_of_optax():
    optimizer = opax.inject_hyperparams(opax.sgd)(learning_rate=0.1)(PARAMS)
    optimizer.state.hyperparams["learning_rate"] = 0.5
    assert float(optimizer.learning_rate) == 0.5
    assert "0.5" in repr(optimizer)
    assert moved(optimizer) == moved(jax.jit(lambda x: x)(optimizer)) == 0.5
    optimizer = opax.sgd(0.1)(PARAMS)
    optimizer.hyperparams["learning_rate"] = 0.5
    assert float(optimizer.learning_rate) == moved(optimizer) == 0.5
    optimizer.hyperparams["rate"] = 0.5
    with pytest.raises(ValueError, match="have the names learning_rate, got learning_rate, rate"):
        moved(optimizer)
    with pytest.raises(ValueError, match="have the names learning_rate, got rate"):
        optimizer.replace(hyperparams={"rate": 0.5})


@pytest.mark.parametrize("make", [opax.inject_hyperparams(opax.sgd), opax.sgd])
def test_a_scheduled_rate(make):
    schedule = opax.schedule.linear_schedule(1.0, 0.0, 4)
    optimizer = make(learning_rate=schedule)(PARAMS)
    for step in range(3):
        assert float(optimizer.learning_rate) == float(schedule(step))
        assert moved(optimizer) == pytest.approx(float(schedule(step)))
        _, optimizer = opax.apply_gradients(PARAMS, optimizer, GRADS)
    with pytest.raises(
        AttributeError, match=r"learning_rate of .* follows a schedule, .* give another"
    ):
        optimizer.replace(learning_rate=0.5)
    if make is not opax.sgd:
        optimizer.state.hyperparams["learning_rate"] = 0.5  # which optax overrides
        assert float(optimizer.learning_rate) == float(schedule(3)) == moved(optimizer)
        with pytest.raises(AttributeError, match="follows a schedule"):
            opax.from_optax(make(learning_rate=schedule).tx)(PARAMS).replace(learning_rate=0.5)
        return
    other = optimizer.replace(learning_rate=opax.schedule.linear_schedule(8.0, 4.0, 4))
    assert float(other.learning_rate) == moved(other) == 5.0
    with pytest.raises(
        AttributeError, match=r"learning_rate of .* is a number, and linear_schedule"
    ):
        opax.sgd(0.1)(PARAMS).replace(learning_rate=schedule)


def test_an_inner_rate_that_a_wrapper_uses_too():
    def make(library, rate):
        return opax.contrib.schedule_free(library.sgd(rate), rate, b1=0.9)

    optimizer = make(opax, 0.1)(PARAMS)
    message = (
        "2 of the name 'learning_rate', .* together: learning_rate, base_optimizer.learning_rate"
    )
    with pytest.raises(AttributeError, match=message):
        optimizer.replace(learning_rate=0.5)
    both = {"learning_rate": 0.5, "base_optimizer.learning_rate": 0.5}
    assert moved(optimizer.replace(**both), 5) == pytest.approx(moved(make(opax, 0.5)(PARAMS), 5))
    with pytest.raises(AttributeError, match="that optax made, whose own is a constant"):
        make(optax, 0.1)(PARAMS).replace(learning_rate=0.5)


def test_what_has_no_hyperparameters():
    with pytest.raises(
        AttributeError, match=r"no hyperparameter .* 'learning_rate'\. The hyperparameters"
    ):
        opax.from_optax(optax.sgd(0.1))(PARAMS).replace(learning_rate=0.5)
    with pytest.raises(AttributeError, match=r"count of adam\(.* is part of the state"):
        opax.adam(0.1)(PARAMS).replace(count=3)


def test_an_injected_integer_is_not_cut():
    def factory(learning_rate, rounds):
        return optax.sgd(learning_rate * rounds)

    optimizer = opax.inject_hyperparams(factory)(0.1, 2)(PARAMS)
    with pytest.raises(AttributeError, match=r"rounds of .* is an integer, which 2\.5 is not"):
        optimizer.replace(rounds=2.5)
    assert int(optimizer.replace(rounds=3).rounds) == 3


def train_step(tx, state, params):
    updates, state = tx.update(GRADS, state, params)
    return optax.apply_updates(params, updates), state


@pytest.mark.parametrize("jit", [False, True])
def test_what_is_replaced_in_a_state_is_used_by_the_transformation(jit):
    """As Flax's `TrainState` and `nnx.Optimizer` use it."""
    tx = opax.chain(opax.clip(9.0), opax.sgd(0.1, momentum=0.5))
    step = jax.jit(train_step, static_argnums=0) if jit else train_step
    state = tx.init(PARAMS)
    assert float(1 - step(tx, state, PARAMS)[0]["w"][0]) == pytest.approx(0.1)
    state = state.replace(learning_rate=0.5)
    for _ in range(2):
        new, state = step(tx, state, PARAMS)
        assert float(state.learning_rate) == 0.5
    assert float(1 - new["w"][0]) == pytest.approx(0.75)
    faster = opax.chain(opax.clip(9.0), opax.sgd(1.0, momentum=0.5))
    unchanged = tx.init(PARAMS)
    assert float(1 - step(faster, unchanged, PARAMS)[0]["w"][0]) == 1.0
    clipped, _ = step(tx, tx.init(PARAMS).replace(max_delta=0.5, learning_rate=1.0), PARAMS)
    assert float(1 - clipped["w"][0]) == 0.5
    called = tx(PARAMS).replace(learning_rate=0.5)
    assert float(1 - step(tx, called, PARAMS)[0]["w"][0]) == 0.5
    schedule = opax.schedule.constant_schedule
    scheduled = opax.sgd(schedule(0.1))
    state = scheduled.init(PARAMS).replace(learning_rate=schedule(0.5))
    assert float(1 - step(scheduled, state, PARAMS)[0]["w"][0]) == 0.5


def test_values_given_anew_beside_a_state():
    make = opax.inject_hyperparams(opax.sgd)
    saved = make(learning_rate=0.1)(PARAMS).state
    fresh = make(learning_rate=0.5)(PARAMS)
    with pytest.warns(
        UserWarning, match=r"learning_rate is 0\.1 in the state given and 0\.5 in the"
    ):
        resumed = fresh.replace(state=saved)
    assert float(resumed.learning_rate) == pytest.approx(0.1)
    assert float(fresh.replace(state=saved, learning_rate=0.5).learning_rate) == 0.5
    assert float(fresh.replace(state=fresh.state).learning_rate) == 0.5
    resumed = opax.adam(0.5)(PARAMS).replace(state=opax.adam(0.1)(PARAMS).state)
    assert float(resumed.learning_rate) == 0.5
    again = opax.adam(0.5)(PARAMS).replace(b1=0.8)
    assert again.replace(state=opax.adam(0.5)(PARAMS).state).b1 == jnp.float32(0.8)


def test_update_says_what_to_call():
    with pytest.raises(
        TypeError, match=r"transform_gradients\(grads, .* `model = optimizer.step\("
    ):
        opax.adam(0.1)(PARAMS).update(GRADS, PARAMS)


def test_hyperparameters_and_states_are_listed():
    optimizer = opax.chain(opax.clip(1.0), opax.adam(opax.schedule.constant_schedule(0.1)))(PARAMS)
    assert {"learning_rate", "b1", "max_delta", "count", "mu"} <= set(dir(optimizer))
    assert {"mu", "count"} <= set(dir(opax.adam(0.1)(PARAMS)[0]))
    assert int(optimizer.count) == 0
    _, optimizer = jax.jit(opax.apply_gradients)(PARAMS, optimizer, GRADS)
    assert int(optimizer.count) == 1


def test_counters_that_differ():
    late = opax.conditionally_mask(opax.adam(0.1), lambda step, **extra: step > 2)
    optimizer = opax.chain(opax.adam(0.1), late)(PARAMS)
    _, optimizer = opax.apply_gradients(PARAMS, optimizer, GRADS)
    with pytest.raises(
        AttributeError, match=r"has 2 of the name 'count' in its state, at \[0\]\[0\]"
    ):
        _ = optimizer.count
