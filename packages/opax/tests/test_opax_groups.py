"""What is said about groups of parameters: in summaries, and the norms at each step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import opax

PARAMS = {
    "w": jnp.ones((3, 4)),
    "b": jnp.ones(4),
    "e": {"w": jnp.full((5, 4), 2.0), "b": jnp.ones(1)},
}
LABELS = {"*.b": "biases", "**": "weights"}
HEADER = ["group", "arrays", "parameters", "learning", "rate", "weight", "decay"]


def rows(tx):
    """The rows of the table, without what is left of it."""
    lines = [line.split() for line in tx(PARAMS).summary(PARAMS).splitlines()]
    return [line for line in lines[lines.index(HEADER) + 1 :] if line[0] != "state:"]


@pytest.mark.parametrize(
    ("tx", "expected"),
    [
        (opax.adam(0.1), ["all 4 37 0.1 -"]),
        (opax.adamw(0.1, mask="*.w"), ["all 4 37 0.1 0.0001 of 32"]),
        (opax.sgd(opax.schedule.linear_schedule(1.0, 0.0, 4)), ["all 4 37 1 -"]),
        (
            opax.chain(
                opax.clip(1.0),
                opax.multi_transform({"weights": opax.adamw(0.1), "biases": opax.sgd(0.2)}, LABELS),
                opax.add_decayed_weights(0.01, mask="*.w"),
            ),
            ["all 4 37 - 0.01 of 32", "weights 2 32 0.1 0.0001", "biases 2 5 0.2 -"],
        ),
        (
            opax.chain(
                opax.masked(opax.sgd(0.1), "e.*"), opax.freeze({"w": True, "b": False, "e": False})
            ),
            ["masked 'e.*' 2 21 0.1 -", "frozen 1 12 - -"],
        ),
        (opax.MultiSteps(opax.inject_hyperparams(opax.adamw)(0.1), 2), ["all 4 37 0.1 0.0001"]),
        (opax.from_optax(optax.adam(0.1)), ["all 4 37 unknown unknown"]),
        (opax.noisy_sgd(0.1, key=jax.random.key(0)), ["all 4 37 0.1 -"]),
    ],
)
def test_a_row_for_each_group(tx, expected):
    assert rows(tx) == [line.split() for line in expected]


def test_a_summary_says_what_is_used_and_refuses_other_parameters():
    optimizer = opax.adam(0.1)(PARAMS).replace(learning_rate=0.25)
    assert "  0.25  " in optimizer.summary(PARAMS)
    assert optimizer.summary(PARAMS).endswith("state: 300 bytes")
    with pytest.raises(ValueError, match=r"have nothing at \['b'\]"):
        optimizer.summary({"w": jnp.ones((3, 4))})


@pytest.mark.parametrize(
    "labels", [None, LABELS, lambda path, leaf: str(leaf.ndim), {"w": 1, "b": 2, "e": 2}]
)
def test_norms_of_each_group_are_those_of_optax(labels):
    inner = opax.chain(opax.scale_by_adam(), opax.sgd(0.1))
    optimizer = opax.monitor_norms(inner, labels)(PARAMS)
    assert not any(map(jnp.any, jax.tree.leaves(optimizer.param_norm)))
    grads = jax.tree.map(lambda x: x.astype(jnp.bfloat16) / 3, PARAMS)
    updates, after = opax.transform_gradients(grads, optimizer, PARAMS)
    expected, _ = opax.transform_gradients(grads, inner(PARAMS), PARAMS)
    jax.tree.map(np.testing.assert_array_equal, updates, expected)
    groups = {"all": ("w", "b", "ew", "eb")}
    if labels is not None:
        groups = {"biases": ("b", "eb"), "weights": ("w", "ew")}
    if labels is None or labels is LABELS:
        trees = (after.grad_norm, grads), (after.update_norm, updates), (after.param_norm, PARAMS)
        for found, tree in trees:
            leaves = {"w": tree["w"], "b": tree["b"], "ew": tree["e"]["w"], "eb": tree["e"]["b"]}
            for label, names in groups.items():
                wanted = optax.tree.norm([leaves[name].astype(jnp.float32) for name in names])
                np.testing.assert_allclose(found[label], wanted, rtol=1e-6)
    assert len(after.grad_norm) == (1 if labels is None else 2)
    again = jax.eval_shape(opax.transform_gradients, grads, after, PARAMS)[1]
    assert jax.tree.structure(again) == jax.tree.structure(optimizer)
    with pytest.raises(ValueError, match="monitor_norms needs the parameters"):
        opax.transform_gradients(grads, optimizer, None)


def test_what_norms_are_of_can_be_replaced_and_read():
    optimizer = opax.monitor_norms(opax.adam(0.1))(PARAMS).replace(learning_rate=0.5)
    assert float(optimizer.learning_rate) == float(optimizer[0].learning_rate) == 0.5
    with pytest.raises(ValueError, match="monitor_norms looks at single leaves"):
        opax.flattened(opax.monitor_norms(opax.adam(0.1)))
    with pytest.raises(ValueError, match="matches none of the 4 leaves"):
        opax.monitor_norms(opax.adam(0.1), {"*.c": "x", "**": "y"})(PARAMS)
