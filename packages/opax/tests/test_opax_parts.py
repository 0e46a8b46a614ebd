"""Chains and groups taken apart: by index, slice and label, drawn, and what they remember."""

import pickle

import jax
import jax.numpy as jnp
import optax
import pytest

import opax
import pax_jax as pax

PARAMS = {"w": jnp.array([3.0, 4.0])}


def test_the_norm_before_clipping_is_remembered():
    optimizer = opax.chain(opax.clip_by_global_norm(1.0), opax.sgd(0.5))(PARAMS)
    assert float(optimizer[0].global_norm) == 0.0
    step = jax.jit(opax.apply_gradients)
    params, optimizer = step(PARAMS, optimizer, PARAMS)
    assert float(optimizer[0].global_norm) == float(optimizer.global_norm) == 5.0
    assert optimizer[0].max_norm == 1.0
    assert jnp.allclose(params["w"], jnp.array([2.7, 3.6]))
    low = opax.clip_by_global_norm(1.0)({"w": jnp.ones(2, jnp.bfloat16)})
    assert low.global_norm.dtype == jnp.float32


def test_indices_and_slices_are_optimizers():
    tx = opax.chain(opax.clip(1.0), opax.chain(opax.trace(0.9), opax.scale(-1.0)), opax.adam(0.1))
    optimizer = tx(PARAMS)
    assert [repr(each) for each in optimizer] == [
        "clip(max_delta=1.0)",
        "chain(trace(decay=0.9), scale(step_size=-1.0))",
        "adam(learning_rate=0.1)",
    ]
    assert optimizer[1][0].trace["w"].tolist() == [0.0, 0.0]
    assert optimizer[1][-1].step_size == optimizer.step_size == -1.0
    assert len(optimizer) == 3
    assert repr(optimizer[1:]) == f"chain({optimizer[1]!r}, {optimizer[2]!r})"
    assert optimizer[::2][1] == optimizer[2]
    with pytest.raises(IndexError):
        optimizer[3]
    first = opax.chain(opax.clip(1.0), tx)(PARAMS)[1]
    assert first == optimizer


def test_a_slice_is_an_optimizer_of_its_own():
    optimizer = opax.chain(opax.clip(1.0), opax.trace(0.9), opax.scale(-0.1))(PARAMS)
    params, _ = opax.apply_gradients(PARAMS, optimizer[1:], PARAMS)
    expected, _ = opax.apply_gradients(PARAMS, opax.sgd(0.1, momentum=0.9)(PARAMS), PARAMS)
    assert params["w"].tolist() == expected["w"].tolist()


def test_parts_of_an_alias_see_its_hyperparameters():
    optimizer = opax.adamw(0.1, weight_decay=0.5)(PARAMS)
    assert [repr(each) for each in optimizer] == ["scale_by_adam", "add_decayed_weights", "scale"]
    assert float(optimizer[-1].learning_rate) == pytest.approx(0.1)
    assert optimizer[0].mu["w"].tolist() == [0.0, 0.0]
    assert optimizer[0].count is optimizer.count
    with pytest.raises(AttributeError, match="has no hyperparameter and no state 'other'"):
        _ = optimizer[0].other
    assert len(optimizer[:2]) == 2


def test_a_part_of_something_that_is_no_chain():
    with pytest.raises(TypeError, match=r"scale_by_adam\(\) is not a chain: .* ScaleByAdamState"):
        opax.scale_by_adam()(PARAMS)[0]


def test_named_chains_and_wrappers():
    optimizer = opax.named_chain(("clip", opax.clip(1.0)), ("adam", opax.adam(0.1)))(PARAMS)
    assert float(optimizer["adam"].learning_rate) == pytest.approx(0.1)
    assert repr(optimizer[0]) == "clip(max_delta=1.0)"
    wrapped = opax.MultiSteps(opax.apply_if_finite(opax.adam(0.1), 3), 2)(PARAMS)
    assert repr(wrapped[0][0]) == "adam(learning_rate=0.1)"
    assert wrapped.mini_step == 0
    assert opax.chain(optax.clip(1.0), opax.adam(0.1))(PARAMS)[-1][0].count == 0


def test_the_drawing_of_a_chain():
    net = pax.Sequential(pax.Linear(2, 3), pax.Linear(3, 1))
    tx = opax.chain(
        opax.clip_by_global_norm(1.0),
        opax.multi_transform(
            {"slow": opax.sgd(0.1), "fast": opax.trace(0.9)}, {"*.bias": "slow", "**": "fast"}
        ),
    )
    assert tx(net.parameters()).summary().splitlines() == [
        "chain",
        "├── clip_by_global_norm(max_norm=1.0)",
        "└── partition",
        "    ├── sgd(learning_rate=0.1)",
        "    │   ├── identity",
        "    │   └── scale",
        "    └── trace(decay=0.9)",
        "        └── Sequential",
        "            ├── modules[0]: Linear(in_dim=2, out_dim=3, with_bias=True)",
        "            └── modules[1]: Linear(in_dim=3, out_dim=1, with_bias=True)",
    ]


def test_what_optax_made_is_drawn_by_its_functions():
    optimizer = opax.from_optax(optax.chain(optax.clip(1.0), optax.scale_by_adam()))(
        pax.Linear(1, 1)
    )
    assert optimizer.summary(return_list=True) == [
        "from_optax(...)",
        "├── clip",
        "└── scale_by_adam",
        "    ├── Linear(in_dim=1, out_dim=1, with_bias=True)",
        "    └── Linear(in_dim=1, out_dim=1, with_bias=True)",
    ]


def test_an_optimizer_inside_of_a_chain_of_optax_is_itself():
    tx = opax.from_optax(optax.chain(optax.clip(1.0), opax.adam(0.1)))
    _, optimizer = opax.apply_gradients(PARAMS, tx(PARAMS), PARAMS)
    _, alone = opax.apply_gradients(PARAMS, opax.adam(0.1).init(PARAMS), PARAMS)
    assert optimizer[1] == alone.replace(state=optimizer[1].state)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    assert optimizer.summary(return_list=True) == [
        "from_optax(...)",
        "├── clip",
        "└── adam(learning_rate=0.1)",
        "    ├── scale_by_adam",
        "    └── scale",
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda: opax.adam(opax.schedule.cosine_decay_schedule(0.1, 10)),
        lambda: opax.nadamw(0.1),
        lambda: opax.chain(opax.clip_by_global_norm(1.0), opax.masked(opax.sgd(0.1), "w")),
        lambda: opax.flattened(opax.adam(0.1)),
        lambda: opax.chain(opax.adam(0.1), opax.params_ema(0.9)),
    ],
    ids=["schedule", "nadamw", "masked", "flattened", "params_ema"],
)
def test_pickles_of_every_kind_go_on_in_the_same_way(make):
    params, optimizer = opax.apply_gradients(PARAMS, make()(PARAMS), PARAMS)
    loaded = pickle.loads(pickle.dumps(optimizer))
    assert loaded == optimizer
    assert pickle.loads(pickle.dumps(make())) == make()
    expected, _ = opax.apply_gradients(params, optimizer, PARAMS)
    actual, _ = opax.apply_gradients(params, loaded, PARAMS)
    assert actual["w"].tolist() == expected["w"].tolist()


MAPPED = {
    "adamw": lambda: opax.adamw(0.1),
    "chain": lambda: opax.chain(opax.clip(1.0), opax.sgd(0.1, momentum=0.9)),
    "masked": lambda: opax.masked(opax.adam(0.1), {"w": True}),
    "chain of optax": lambda: optax.chain(optax.clip(1.0), opax.adam(0.1)),
    "masked by optax": lambda: optax.masked(opax.adam(0.1), {"w": True}),
    "groups of optax": lambda: optax.partition({"a": opax.adam(0.1)}, {"w": "a"}),
}


@pytest.mark.parametrize("make", MAPPED.values(), ids=MAPPED)
def test_states_of_parameters_are_mapped_as_by_optax(make):
    """What has the structure of the parameters is mapped, and nothing else."""
    tx = make()
    state = tx.init(PARAMS)
    mapped = optax.tree.map_params(
        tx,
        lambda leaf, spec: jnp.full_like(leaf, spec),
        state,
        {"w": 7.0},
        transform_non_params=lambda leaf: -leaf,
        is_leaf=lambda leaf: isinstance(leaf, optax.MaskedNode),
    )
    assert jax.tree.structure(mapped) == jax.tree.structure(state)
    pairs = zip(jax.tree.leaves(mapped), jax.tree.leaves(state), strict=True)
    for new, old in pairs:
        assert new.tolist() == ([7.0, 7.0] if old.ndim else -old)
