"""Optimizers that are saved and loaded: a rate given anew is used, or it is said that it is not."""

import pickle
import warnings

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from flax.training.train_state import TrainState

import opax
import pax_jax as pax

PARAMS = {"w": jnp.ones(2)}


def trained(tx):
    optimizer = tx(PARAMS)
    for _ in range(2):
        _, optimizer = opax.apply_gradients(PARAMS, optimizer, PARAMS)
    return optimizer


def through_checkpoints(optimizer, like, folder):
    folder = folder / str(len(list(folder.iterdir())))
    pax.checkpoint.save(folder, {"net": [pax.Linear(1, 1)], "optimizer": optimizer})
    return pax.checkpoint.load(folder, {"net": [pax.Linear(1, 1)], "optimizer": like})["optimizer"]


def through_state_dict(optimizer, like, folder):
    arrays = {name: np.asarray(x) for name, x in optimizer.state_dict().items()}
    return like.load_state_dict(arrays)


def through_dicts(optimizer, like, folder):
    saved = pax.experimental.save_weights_to_dict(optimizer)
    return pax.experimental.load_weights_from_dict(like, saved)


def through_safetensors(optimizer, like, folder):
    pax.weights.save_safetensors(optimizer, folder / "optimizer")
    return pax.weights.load_safetensors(like, folder / "optimizer")


def through_flax(optimizer, like, folder):
    return flax.serialization.from_bytes(like, flax.serialization.to_bytes(optimizer))


WAYS = [
    through_checkpoints,
    through_state_dict,
    through_dicts,
    through_safetensors,
    through_flax,
]


def same_state(a, b):
    return jax.tree.all(jax.tree.map(lambda x, y: (x == y).all(), a.state, b.state))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_given_anew_is_used_or_said_to_be_overridden(way, tmp_path):
    optimizer = trained(opax.adamw(1e-3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = way(optimizer, opax.adamw(1e-3)(PARAMS), tmp_path)
        assert loaded == optimizer
        # Numbers that became arrays before or after something was saved.
        loaded = way(optimizer, opax.adamw(1e-3)(PARAMS).replace(b1=0.5), tmp_path)
        assert same_state(loaded, optimizer)
        assert float(loaded.b1) == 0.5
        both = optimizer.replace(b1=0.5)
        assert way(both, both, tmp_path) == both
    with pytest.warns(
        UserWarning, match=r"^learning_rate is 0.001 in .* saved and 0.0001 in the op"
    ) as seen:
        loaded = way(optimizer, opax.adamw(1e-4)(PARAMS), tmp_path)
    assert loaded.learning_rate == optimizer.learning_rate
    assert "`optimizer.replace(learning_rate=0.0001)` uses the other" in str(seen[0].message)
    assert seen[0].filename == __file__
    with pytest.warns(UserWarning, match=r"^b1 is 0.5 in what was saved and 0.9 in"):
        loaded = way(optimizer.replace(b1=0.5), opax.adamw(1e-3)(PARAMS), tmp_path)
    assert float(loaded.b1) == 0.5
    assert "b1=0.5" in repr(loaded)


def test_rates_in_chains_of_populations_and_injected_ones(tmp_path):
    def tx(rate):
        return opax.chain(opax.sgd(rate), opax.inject_hyperparams(opax.adamw)(rate))

    with pytest.warns(UserWarning, match="in what was saved") as seen:
        loaded = through_state_dict(trained(tx(0.1)), tx(0.2)(PARAMS), tmp_path)
    messages = sorted(str(each.message) for each in seen)
    assert messages[0].startswith("0.learning_rate is 0.1 in what was saved and 0.2")
    assert messages[1].startswith("1.learning_rate is 0.1 in what was saved and 0.2")
    assert "`optimizer.replace(**{'1.learning_rate': 0.2})`" in messages[1]
    assert float(loaded[1].learning_rate) == pytest.approx(0.1)

    def population(rates):
        return jax.vmap(lambda rate: opax.sgd(0.1)(PARAMS).replace(learning_rate=rate))(rates)

    with pytest.warns(UserWarning, match=r"is \[0.5, 1.0\] in what was saved and \[2.0, 1.0\]"):
        through_state_dict(
            population(jnp.array([0.5, 1])), population(jnp.array([2.0, 1])), tmp_path
        )
    with pytest.raises(ValueError, match=r"hyperparams.learning_rate is .*\[2\], expected .*\[\]"):
        through_state_dict(population(jnp.array([0.5, 1])), opax.sgd(0.1)(PARAMS), tmp_path)


def test_a_new_schedule_goes_on_at_the_step_that_was_saved(tmp_path):
    optimizer = trained(opax.adam(opax.schedule.linear_schedule(1.0, 0.0, 4)))
    new = opax.adam(opax.schedule.linear_schedule(3.0, 1.0, 4))(PARAMS)
    loaded = through_checkpoints(optimizer, new, tmp_path)
    assert float(optimizer.learning_rate) == 0.5
    assert float(loaded.learning_rate) == 2.0
    with pytest.raises(ValueError, match=r"state\.1\.count .*checkpoint"):
        through_checkpoints(optimizer, opax.adam(0.1)(PARAMS), tmp_path)


SCHEDULES = {
    "constant_schedule": (0.1,),
    "cosine_decay_schedule": (0.1, 10),
    "cosine_onecycle_schedule": (10, 0.1),
    "exponential_decay_schedule": (0.1, 10, 0.5),
    "linear_onecycle_schedule": (10, 0.1),
    "linear_schedule": (0.1, 0.0, 10),
    "piecewise_constant_schedule": (0.1, {3: 0.5}),
    "piecewise_interpolate_schedule": ("linear", 0.1, {3: 0.5}),
    "polynomial_schedule": (0.1, 0.0, 2, 10),
    "sgdr_schedule": (
        [{"init_value": 0.0, "peak_value": 0.1, "decay_steps": 9, "warmup_steps": 3}],
    ),
    "warmup_constant_schedule": (0.0, 0.1, 5),
    "warmup_cosine_decay_schedule": (0.0, 0.1, 3, 10),
    "warmup_exponential_decay_schedule": (0.0, 0.1, 3, 5, 0.5),
}


def test_every_schedule_goes_on_to_the_bit(tmp_path):
    schedules = {name: getattr(opax.schedule, name)(*given) for name, given in SCHEDULES.items()}
    one, other = schedules["linear_schedule"], schedules["cosine_decay_schedule"]
    schedules["join_schedules"] = opax.schedule.join_schedules([one, other], [2])
    assert set(schedules) == set(opax.schedule._generated)

    @jax.jit
    def steps(pairs):
        for _ in range(2):
            pairs = {x: opax.apply_gradients(*pair, PARAMS) for x, pair in pairs.items()}
        return pairs

    fresh = {name: (PARAMS, opax.sgd(schedule)(PARAMS)) for name, schedule in schedules.items()}
    stored = steps(fresh)
    pax.checkpoint.save(tmp_path, stored)
    loaded = pax.checkpoint.load(tmp_path, fresh)
    for run in (lambda x: x, steps):
        here, there = map(jax.tree.leaves, (run(stored), run(loaded)))
        assert [x.weak_type for x in here] == [x.weak_type for x in there]
        assert [x.tobytes() for x in map(np.asarray, here)] == [
            x.tobytes() for x in map(np.asarray, there)
        ]


def test_what_has_no_values_takes_those_that_were_saved(tmp_path):
    optimizer = trained(opax.adam(1e-3))
    like = jax.eval_shape(lambda: opax.adam(1.0)(PARAMS))
    assert through_checkpoints(optimizer, like, tmp_path) == optimizer
    like = jax.eval_shape(lambda: opax.adam(1.0)(PARAMS).replace(b1=0.5))
    with pytest.raises(ValueError, match=r"optimizer.hyperparams.b1 is float32\[\], and is not in"):
        through_checkpoints(optimizer, like, tmp_path)


@pytest.mark.parametrize("wrap", [lambda tx: tx, lambda tx: optax.chain(optax.clip(1.0), tx)])
def test_flax_saves_its_train_state(wrap):
    def state(rate, seed=0):
        tx = wrap(opax.chain(opax.noisy_sgd(rate, key=jax.random.key(seed)), opax.adamw(rate)))
        return TrainState.create(apply_fn=None, params=PARAMS, tx=tx)

    saved = state(1e-3).apply_gradients(grads=PARAMS)
    data = flax.serialization.to_bytes(saved)
    loaded = flax.serialization.from_bytes(state(1e-3, seed=1), data)
    expected = saved.apply_gradients(grads=PARAMS).params
    np.testing.assert_array_equal(loaded.apply_gradients(grads=PARAMS).params["w"], expected["w"])
    # What a transformation makes a state of has the rates of the transformation.
    with pytest.warns(UserWarning, match=r"state that was saved .*: that of the transformation is"):
        slower = flax.serialization.from_bytes(state(0.0), data)
    optimizer = jax.tree.leaves(slower.opt_state, is_leaf=lambda x: isinstance(x, opax.Optimizer))
    optimizer = next(x for x in optimizer if isinstance(x, opax.Optimizer))
    assert not optimizer[1].learning_rate
    np.testing.assert_array_equal(
        slower.apply_gradients(grads=PARAMS).params["w"], saved.params["w"]
    )


def test_whole_optimizers_have_the_hyperparameters_that_were_saved(tmp_path):
    optimizer = trained(opax.adam(1e-3)).replace(b1=0.5)
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "a", optimizer)
        checkpointer.wait_until_finished()
        like = opax.adam(1e-4)(PARAMS).replace(b1=0.1)
        assert checkpointer.restore(tmp_path / "a", like) == optimizer
        with pytest.raises(ValueError, match=r"hyperparams.b1"):
            checkpointer.restore(tmp_path / "a", opax.adam(1e-4)(PARAMS))
