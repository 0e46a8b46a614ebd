"""The guards of `opax.check`, at the top level and in compiled steps."""

import jax
import jax.numpy as jnp
import pytest

import opax
import pax_jax as pax

PARAMS = {"a": jnp.array([1.0, 2.0]), "b": {"c": jnp.ones((2, 2))}}


def loss(params):
    return jnp.sum(params["a"] ** 2) + jnp.sum(jnp.cos(params["b"]["c"]))


def gradients(params):
    return jax.grad(loss)(params)


@pytest.fixture(params=[False, True], ids=["eager", "jit"])
def step(request):
    return jax.jit(opax.apply_gradients) if request.param else opax.apply_gradients


def assert_raises(message, step, *args):
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match=message):
        jax.block_until_ready(step(*args))


def test_what_is_right_passes(step):
    params, optimizer = PARAMS, opax.check(opax.adamw(0.1)(PARAMS), PARAMS)
    plain = opax.adamw(0.1)(PARAMS)
    expected = PARAMS
    for _ in range(4):
        expected, plain = step(expected, plain, gradients(expected))
        params, optimizer = step(params, optimizer, gradients(params))
    assert all(map(jnp.allclose, jax.tree.leaves(params), jax.tree.leaves(expected)))
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    assert repr(optimizer) == repr(plain)


def test_a_scanned_loop_passes_and_is_guarded():
    optimizer = opax.check(opax.sgd(0.1)(PARAMS), PARAMS)

    def train(grads_of):
        def body(carry, _):
            return opax.apply_gradients(*carry, grads_of(carry[0])), None

        return jax.jit(lambda: jax.lax.scan(body, (PARAMS, optimizer), length=3)[0])

    jax.block_until_ready(train(gradients)())
    assert_raises("are those of the last step", train(lambda params: PARAMS))


def test_the_same_gradients_twice(step):
    optimizer = opax.check(opax.sgd(0.1)(PARAMS), PARAMS)
    grads = gradients(PARAMS)
    params, optimizer = step(PARAMS, optimizer, grads)
    assert_raises(r"at \['a'\] for one, are those of the last step", step, params, optimizer, grads)


def test_no_gradient_twice_is_no_mistake(step):
    optimizer = opax.check(opax.sgd(0.1)(PARAMS), PARAMS)
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    params, optimizer = step(PARAMS, optimizer, zeros)
    step(params, optimizer, zeros)


def test_parameters_of_another_model(step):
    optimizer = opax.check(opax.sgd(0.1)(PARAMS), PARAMS)
    other = {**PARAMS, "b": {"c": jnp.zeros((2, 2))}}
    message = r"parameter at \['b'\]\['c'\] is not the one that the optimizer was made for"
    assert_raises(message, step, other, optimizer, gradients(other))
    params, optimizer = step(PARAMS, optimizer, gradients(PARAMS))
    assert_raises(
        r"parameter at \['a'\] is not the one", step, PARAMS, optimizer, gradients(params)
    )


def test_updates_that_the_user_applies_are_not_guessed(step):
    optimizer = opax.check(opax.sgd(0.1)(PARAMS), PARAMS)
    updates, optimizer = opax.transform_gradients(gradients(PARAMS), optimizer, PARAMS)
    params = opax.apply_updates(PARAMS, jax.tree.map(lambda u: 0.5 * u, updates))
    params, optimizer = step(params, optimizer, gradients(params))
    step(params, optimizer, gradients(params))


def test_a_state_that_is_an_alias():
    optimizer = opax.sgd(0.1, momentum=0.9)(PARAMS)
    trace, last = optimizer.state
    alias = optimizer.replace(state=(trace._replace(trace=PARAMS), last))
    message = r"\[0\]\.trace\['a'\] of the optimizer's state is the parameter at \['a'\]"
    with pytest.raises(ValueError, match=message):
        opax.check(alias, PARAMS)
    checked = opax.check(optimizer, PARAMS).replace(state=alias.state)
    with pytest.raises(ValueError, match=message):
        opax.apply_gradients(PARAMS, checked, gradients(PARAMS))


@pytest.mark.parametrize(
    "make",
    [
        lambda: opax.adamw(0.1, weight_decay=0.5),
        lambda: opax.chain(opax.sgd(0.1), opax.add_decayed_weights(-0.1)),
        lambda: opax.lion(0.1),
    ],
    ids=["adamw", "chain", "default"],
)
def test_weight_decay_of_frozen_leaves(make, step):
    params, optimizer = PARAMS, opax.check(make()(PARAMS), PARAMS, idle_steps=3)

    def some(params):
        grads = gradients(params)
        return {**grads, "a": jnp.zeros(2)}

    for _ in range(2):
        params, optimizer = step(params, optimizer, some(params))
    message = r"parameter at \['a'\] has had no gradient in 3 steps, .* idle_steps="
    with pytest.warns(UserWarning, match=message):
        params, optimizer = jax.block_until_ready(step(params, optimizer, some(params)))
    step(params, optimizer, some(params))


def test_leaves_that_decay_leaves_out_may_be_frozen(step):
    tx = opax.adamw(0.1, weight_decay=0.5, mask={"a": False, "b": True})
    params, optimizer = PARAMS, opax.check(tx(PARAMS), PARAMS)
    for _ in range(3):
        grads = {**gradients(params), "a": jnp.zeros(2)}
        params, optimizer = step(params, optimizer, grads)


def test_parameters_of_another_structure():
    net = pax.Linear(2, 2)
    optimizer = opax.adam(0.1)(net)
    with pytest.raises(ValueError, match=r"parameters have nothing at \.weight"):
        opax.check(optimizer, net.freeze())
    with pytest.raises(TypeError, match="check expects an optimizer"):
        opax.check(opax.adam(0.1), net)


def test_an_optimizer_that_is_not_checked_computes_no_checksums():
    def program(optimizer):
        return str(jax.make_jaxpr(opax.apply_gradients)(PARAMS, optimizer, PARAMS))

    optimizer = opax.adam(0.1)(PARAMS)
    assert "bitcast" in program(opax.check(optimizer, PARAMS))
    assert "bitcast" not in program(optimizer)
    assert "callback" not in program(optimizer)
