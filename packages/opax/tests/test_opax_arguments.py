"""Arguments that optax takes and never uses, or fails on at the first step, are refused when given."""

import inspect

import jax.numpy as jnp
import optax
import pytest

import opax
import pax_jax as pax
from opax import schedule

ONE, TWO, THREE = (schedule.constant_schedule(x) for x in (1.0, 2.0, 3.0))
SGD = opax.sgd(0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: opax.sgd(0.1, nesterov=True), "nesterov of sgd has no effect without momentum"),
        (lambda: opax.rmsprop(0.1, nesterov=True), "nesterov of rmsprop has no effect"),
        (lambda: opax.sgd(0.1, momentum=None, nesterov=True), "nesterov of sgd has no effect"),
        (lambda: opax.sgd(0.1, accumulator_dtype="bfloat16"), "accumulator_dtype of sgd"),
        (lambda: opax.adafactor(0.1, dtype_momentum="bfloat16"), "dtype_momentum of adafactor"),
        (lambda: opax.adafactor(0.1, weight_decay_mask="*.w"), "without weight_decay_rate"),
        (lambda: opax.lamb(0.1, mask="*.w"), "mask of lamb has no effect without weight_decay"),
        (lambda: opax.lars(0.1, weight_decay_mask="*.w"), "weight_decay_mask of lars"),
        (lambda: opax.add_decayed_weights(mask="*.w"), "mask of add_decayed_weights"),
        (lambda: opax.MultiSteps(SGD, 0), "every_k_schedule of MultiSteps is 0, so it never steps"),
        (lambda: opax.apply_every(-1), "k of apply_every is -1"),
        (lambda: opax.chain(), "chain got no transformation"),
        (lambda: schedule.join_schedules([ONE, TWO, THREE], [5]), "3 schedules and 1 boundaries"),
        (lambda: schedule.join_schedules([ONE], [5]), "expected 0 boundaries"),
        (
            lambda: schedule.join_schedules([ONE, TWO, THREE], [9, 5]),
            r"are \[9, 5\]; expected steps",
        ),
    ],
)
def test_what_has_no_effect(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: opax.sgd(0.1, momentum=0.9, nesterov=True, accumulator_dtype="bfloat16"),
        lambda: opax.sgd(0.1, momentum=0.0, nesterov=True),  # of a search over momenta
        lambda: opax.lamb(0.1, weight_decay=0.0, mask="*.w"),
        lambda: opax.sgd(0.1, nesterov=False),
        lambda: opax.MultiSteps(SGD, lambda step: 1 + step),
        lambda: opax.apply_every(1),
        lambda: opax.named_chain(("a", SGD), ("b", opax.identity())),
        lambda: schedule.join_schedules([ONE, TWO, THREE], [5, 5]),
        lambda: opax.contrib.muon(0.1, weight_decay_mask=None),
    ],
)
def test_what_has_one(make):
    assert make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: opax.sgd("0.1"),
            "learning_rate of sgd is '0.1'; expected a number, an array or a sch",
        ),
        (lambda: opax.adam(None), "learning_rate of adam is None"),  # with which optax climbs
        (lambda: opax.sgd({"w": 0.1}), r"learning_rate of sgd is \{'w': 0.1\}"),
        (lambda: opax.adam(0.1, b1="0.9"), "b1 of adam is '0.9'; expected a number or an array"),
        (lambda: schedule.linear_schedule("1", 0.0, 5), "init_value of linear_schedule is '1'"),
        (
            lambda: opax.chain(SGD, 3),
            "argument 1 of chain is 3 of type int; expected a transformation",
        ),
        (lambda: opax.chain(opax.adam), "argument 0 of chain is <function adam"),
        (lambda: opax.chain(SGD({"w": 1.0})), "was made for parameters already: give what made it"),
        (lambda: opax.named_chain(("a", SGD), ("b", 3)), "'b' of named_chain is 3"),
        (lambda: opax.masked(0.1, "*.w"), "inner of masked is 0.1"),
        (
            lambda: opax.partition({"a": SGD, "b": 0.1}, "a"),
            r"transforms\['b'\] of partition is 0.1",
        ),
        (lambda: SGD(pax.Linear), "those of an instance, got the class Linear: make one first"),
    ],
)
def test_what_is_of_another_kind(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.filterwarnings("ignore")  # what optax says of its own defaults and older names
def test_no_default_of_optax_is_refused():
    """Each argument of each function of optax may be given with its own default."""
    made = 0
    for source, ours in ((optax, opax), (optax.contrib, opax.contrib)):
        for name in dir(ours):
            function = getattr(source, name, None)
            if not inspect.isfunction(function) or not hasattr(
                getattr(ours, name), "optax_function"
            ):
                continue
            parameters = inspect.signature(function).parameters
            required = {k for k, p in parameters.items() if p.default is p.empty}
            if required <= {"learning_rate"}:
                defaults = {k: p.default for k, p in parameters.items() if k not in required}
                given = {**dict.fromkeys(required, jnp.float32(0.1)), **defaults}
                made += bool(getattr(ours, name)(**{k: v for k, v in given.items() if k != "args"}))
    assert made > 50
