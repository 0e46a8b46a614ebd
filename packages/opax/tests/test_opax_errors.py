"""What is refused, in one sentence, with the path."""

import jax
import jax.numpy as jnp
import optax
import pytest

import opax
import pax_jax as pax


def make(name="adam", inputs=2):
    net = pax.Sequential(pax.Linear(inputs, 3))
    return net, getattr(opax, name)(0.1)(net)


@pytest.mark.parametrize(
    ("name", "is_needed"),
    [("adamw", True), ("lion", True), ("lamb", True), ("adafactor", True), ("adam", False)],
)
def test_missing_parameters(name, is_needed):
    net, optimizer = make(name)
    grads = net.parameters()
    if not is_needed:
        updates, _ = opax.transform_gradients(grads, optimizer, None)
        assert updates.modules[0].bias.shape == (3,)
        return
    message = rf"{name}\(.*\) needs the parameters, .* None where the gradients have \.modules\[0\]"
    with pytest.raises(ValueError, match=message):
        opax.transform_gradients(grads, optimizer, None)


def test_gradients_of_another_dtype_or_shape():
    net, optimizer = make()
    turned = jax.tree.map(lambda p: p.astype(jnp.complex64), net.parameters())
    message = (
        r"gradient at \.modules\[0\]\.weight has the dtype complex64, and the parameter float32"
    )
    with pytest.raises(TypeError, match=message):
        opax.apply_gradients(net, optimizer, turned)
    other, _ = make(inputs=4)
    message = (
        r"gradient at \.modules\[0\]\.weight has the shape \(4, 3\), and the parameter \(2, 3\)"
    )
    with pytest.raises(ValueError, match=message):
        opax.apply_gradients(net, optimizer, other.parameters())


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("adabelief", 2, r"ScaleByBeliefState at \[0\], where this optimizer has ScaleByAdamState"),
        ("sgd", 2, r"EmptyState at \[0\], where this optimizer has ScaleByAdamState"),
        ("adam", 4, r"float32\[4, 3\] at \[0\]\.mu\.modules.*weight, where .* float32\[2, 3\]"),
    ],
)
def test_a_state_from_another_optimizer(name, inputs, message):
    _, optimizer = make()
    _, other = make(name, inputs)
    with pytest.raises(ValueError, match=f"state is that of another optimizer.*{message}"):
        optimizer.replace(state=other.state)


def test_a_state_of_the_same_optimizer_is_taken_in_any_mode():
    net, optimizer = make()
    other = opax.adam(0.1)(net.eval())
    net, optimizer = opax.apply_gradients(net, optimizer, net.parameters())
    resumed = other.replace(state=optimizer.state)
    assert int(resumed.count) == 1
    assert jax.tree.structure(resumed) == jax.tree.structure(other)


def test_nothing_changes_when_a_step_fails():
    net, optimizer = make()
    before = optimizer.copy()
    with pytest.raises(ValueError, match="gradients have nothing"):
        optimizer.step({}, net)
    assert optimizer == before


def test_integer_parameters():
    for params, grads, path in [
        (100, jnp.ones(()), "the root"),
        ({"w": jnp.arange(3), "v": jnp.ones(3)}, {"w": jnp.ones(3), "v": jnp.ones(3)}, r"\['w'\]"),
    ]:
        optimizer = opax.sgd(0.1)(params)
        with pytest.raises(ValueError, match=f"parameter at {path} is of the integer type int"):
            opax.apply_gradients(params, optimizer, grads)


class MyError(ValueError):
    """An error of a user."""


def test_errors_of_a_user_stay_what_they_are():
    def update(updates, state, params=None, **extra_args):
        raise MyError("the loss scale is negative")

    tx = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    for params in (None, jnp.ones(2)):
        with pytest.raises(MyError, match=r"^the loss scale is negative"):
            opax.transform_gradients(jnp.ones(2), opax.from_optax(tx)(jnp.ones(2)), params)


class WithState(pax.Module):
    """A layer beside a counter, which is no parameter and has no gradient."""

    def __init__(self):
        super().__init__()
        self.layer = pax.Linear(2, 2)
        self.register_state("count", jnp.zeros(()))


@pytest.mark.parametrize("kind", ["module", "frozen", "dict"])
def test_gradients_and_model_in_the_wrong_order(kind):
    net = WithState()
    if kind == "frozen":
        net = pax.Sequential(pax.Linear(2, 2).freeze(), pax.Linear(2, 2))
    if kind == "dict":
        net = {"w": jnp.ones(2), "steps": jnp.array(0)}
    params = {**net, "steps": None} if kind == "dict" else pax.select_parameters(net)
    grads = jax.tree.map(jnp.ones_like, params)
    optimizer = opax.sgd(0.1)(net)
    assert optimizer.copy().step(grads, net)
    message = r"given for the gradients has an array at .*the order is|The order is"
    with pytest.raises(ValueError, match=message):
        optimizer.step(net, grads)
    with pytest.raises(ValueError, match=message):
        opax.apply_gradients(grads, optimizer, net)
    with pytest.raises(ValueError, match=message):
        opax.transform_gradients(net, optimizer, grads)
    with pytest.raises(ValueError, match=message):
        jax.jit(opax.apply_gradients)(grads, optimizer, net)
