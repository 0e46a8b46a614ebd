"""`opax.check` over 200 steps of usual training, in which it is silent, and over mistakes."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest

import opax

X = jax.random.normal(jax.random.key(0), (64, 3))
Y = jnp.sin(X.sum(axis=1, keepdims=True))
PARAMS = {
    "body": {"w": jax.random.normal(jax.random.key(1), (3, 4)), "b": jnp.zeros((1, 4))},
    "head": jnp.full((4, 1), 0.1),
}
STEPS = 200
schedules = opax.schedule


def loss(params, step, size=8):
    """The loss of a batch; of all examples where its size is 64."""
    batch = (jnp.arange(size) + size * step) % 64
    hidden = jnp.tanh(X[batch] @ params["body"]["w"] + params["body"]["b"])
    return jnp.mean((hidden @ params["head"] - Y[batch]) ** 2)


def gradients(params, step, size=8):
    return jax.grad(loss)(params, step, size)


full = functools.partial(gradients, size=64)


def of_one_batch(params, step):
    return gradients(params, step // 4)


def overflowing(params, step):
    return jax.tree.map(lambda g: jnp.where(step % 3 == 0, jnp.inf, g), gradients(params, step))


def rarely_chosen(params, step):
    """The body has a gradient in the last steps only, as an expert that no example chooses."""
    grads = gradients(params, step)
    return {**grads, "body": jax.tree.map(lambda g: g * (step > STEPS - 5), grads["body"])}


def without_body(params, step):
    grads = gradients(params, step)
    return {**grads, "body": jax.tree.map(jnp.zeros_like, grads["body"])}


def of_fast(params, step):
    return gradients(params.fast, step)


def of_examples(params, step):
    return jax.vmap(lambda i: gradients(params, 8 * step + i, 1))(jnp.arange(8))


ZERO_HEAD = {**PARAMS, "head": jnp.zeros((4, 1))}
LOW = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
FROZEN = {"body": True, "head": False}
warmup = schedules.warmup_cosine_decay_schedule(0.0, 1e-2, 10, 150)  # and zero in the last steps

USUAL = {
    "adam on batches": (opax.adam(1e-2), gradients, PARAMS),
    "momentum on all examples": (opax.sgd(1e-2, momentum=0.9), full, PARAMS),
    "warm-up from zero on all examples": (opax.adam(warmup), full, PARAMS),
    "decay, warm-up and a head of zeros": (opax.adamw(warmup), gradients, ZERO_HEAD),
    "an expert that is rarely chosen": (opax.adamw(1e-2), rarely_chosen, PARAMS),
    "accumulation over one batch": (opax.MultiSteps(opax.adamw(1e-2), 4), of_one_batch, PARAMS),
    "steps left out for overflows": (opax.adam(1e-2), overflowing, PARAMS),
    "apply_if_finite": (opax.apply_if_finite(opax.adam(1e-2), 500), overflowing, PARAMS),
    "frozen leaves": (
        opax.chain(opax.adamw(1e-2, mask=opax.optional("head")), opax.freeze(FROZEN)),
        without_body,
        PARAMS,
    ),
    "groups": (
        opax.partition({"a": opax.lion(1e-3), "b": opax.set_to_zero()}, {"body": "b", "head": "a"}),
        full,
        PARAMS,
    ),
    "low precision": (opax.chain(opax.clip_by_global_norm(1.0), opax.sgd(1e-3)), full, LOW),
    "averages": (opax.chain(opax.adam(1e-2), opax.params_ema(0.99)), gradients, PARAMS),
    "no schedule": (opax.contrib.schedule_free_adamw(1e-2), gradients, PARAMS),
    "lookahead": (
        opax.lookahead(opax.adam(1e-2), 5, 0.5),
        of_fast,
        optax.LookaheadParams.init_synced(PARAMS),
    ),
    "privacy": (
        opax.chain(opax.contrib.differentially_private_aggregate(1.0, 0.1, 0), opax.sgd(1e-2)),
        of_examples,
        PARAMS,
    ),
}


@pytest.mark.parametrize("name", USUAL)
def test_usual_training_gives_no_alarm(name):
    tx, gradients_of, params = USUAL[name]
    skips = name == "steps left out for overflows"

    @jax.jit
    def train(params, optimizer):
        def body(carry, step):
            params, optimizer = carry
            grads = gradients_of(params, step)
            finite = jnp.all(jnp.isfinite(grads["head"])) if skips else None
            return opax.apply_gradients(params, optimizer, grads, finite), None

        with jax.numpy_dtype_promotion("standard"):
            return jax.lax.scan(body, (params, optimizer), jnp.arange(STEPS))[0]

    new, _ = jax.block_until_ready(train(params, opax.check(tx(params), params)))
    assert any(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), new, params)))


def test_projections_may_be_allowed():
    params, optimizer = PARAMS, opax.sgd(0.1)(PARAMS)
    optimizer = opax.check(optimizer, params, allow_edits=True)
    for step in range(20):
        params, optimizer = opax.apply_gradients(params, optimizer, gradients(params, step))
        params = jax.tree.map(lambda x: jnp.clip(x, -0.5, 0.5), params)
    _, optimizer = opax.apply_gradients(params, optimizer, gradients(params, 20))
    with pytest.raises(ValueError, match="whose result was dropped"):
        opax.apply_gradients(params, optimizer, gradients(params, 21))


def test_gradients_of_a_linear_loss_may_be_allowed():
    params = {"w": jnp.ones(2)}
    optimizer = opax.check(opax.sgd(0.1)(params), params, allow_repeats=True)
    for _ in range(3):
        params, optimizer = opax.apply_gradients(params, optimizer, {"w": jnp.ones(2)})


def stale_gradients(step, params, optimizer):
    grads = gradients(params, 0)
    for _ in range(3):
        params, optimizer = step(params, optimizer, grads)


def gradients_twice(step, params, optimizer):
    for i in range(3):
        grads = gradients(params, i)
        params, optimizer = step(params, optimizer, grads)
    step(params, optimizer, grads)


def gradients_again_after_a_step_left_out(step, params, optimizer):
    grads = gradients(params, 0)
    params, optimizer = step(params, optimizer, grads)
    infinite = jax.tree.map(lambda g: g * jnp.inf, grads)
    params, optimizer = step(params, optimizer, infinite, False)
    step(params, optimizer, grads)


def dropped_parameters(step, params, optimizer):
    for i in range(2):
        _, optimizer = step(params, optimizer, gradients(params, i))


def dropped_optimizer(step, params, optimizer):
    for i in range(2):
        params, _ = step(params, optimizer, gradients(params, i))


def parameters_of_another_model(step, params, optimizer):
    other = jax.tree.map(lambda x: x + 1, params)
    step(other, optimizer, gradients(other, 0))


def weights_put_in_between(step, params, optimizer):
    params, optimizer = step(params, optimizer, gradients(params, 0))
    step({**params, "head": PARAMS["head"]}, optimizer, gradients(params, 1))


def frozen_weights_that_decay(step, params, optimizer):
    optimizer = opax.check(opax.adamw(0.1)(params), params, idle_steps=5)
    for i in range(5):
        params, optimizer = step(params, optimizer, without_body(params, i))


MISTAKES = {
    stale_gradients: "are those of the last step",
    gradients_twice: "are those of the last step",
    gradients_again_after_a_step_left_out: "are those of the last step",
    dropped_parameters: "whose result was dropped",
    dropped_optimizer: "is not the one that the optimizer was made for",
    parameters_of_another_model: "is not the one that the optimizer was made for",
    weights_put_in_between: "is not the one that the optimizer was made for",
    frozen_weights_that_decay: "has had no gradient in 5 steps",
}


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_gives_an_alarm(mistake, jit):
    step = jax.jit(opax.apply_gradients) if jit else opax.apply_gradients
    optimizer = opax.check(opax.adamw(0.1)(PARAMS), PARAMS)
    errors = (ValueError, UserWarning, jax.errors.JaxRuntimeError)
    with pytest.raises(errors, match=MISTAKES[mistake]):
        mistake(lambda *args: jax.block_until_ready(step(*args)), PARAMS, optimizer)
