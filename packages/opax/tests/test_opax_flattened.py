"""`opax.flattened` of each transformation of optax: the same updates, or an error that names it."""

import contextlib

import jax
import numpy as np
import pytest
from test_opax_against_optax import two_steps
from transformations import LINE_SEARCHES, NAMES, make

import opax

NOISE = {"add_noise", "noisy_sgd"}  # other numbers, of the same distribution


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("path", NAMES)
def test_the_updates_are_the_same_or_it_is_refused(path):
    name = path.split(".")[-1]
    tx = make(opax, path)
    if is_refused(tx):
        message = f"and {tx.function.__name__} looks at single leaves"
        for refused in (tx, opax.chain(opax.clip(1.0), tx), opax.MultiSteps(tx, 2)):
            with pytest.raises(ValueError, match=message):
                opax.flattened(refused)
        assert name == "scale_by_factored_rms" or name in LINE_SEARCHES or differs(path, tx)
        return
    flat = opax.flattened(tx)
    if name in NOISE:
        return
    actual, _ = two_steps(path, flat)
    expected, _ = two_steps(path, tx)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def is_refused(tx):
    try:
        opax.flattened(tx)
    except ValueError:
        return True
    return False


def differs(path, tx):
    """Say whether optax's own transformation fails on vectors, or gives other updates."""
    with contextlib.suppress(Exception):
        vectors, _ = two_steps(path, opax.flattened(opax.from_optax(tx.tx)))
        leaves, _ = two_steps(path, tx)
        pairs = zip(jax.tree.leaves(vectors), jax.tree.leaves(leaves), strict=True)
        return not all(np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in pairs)
    return True


def test_masks_are_refused():
    with pytest.raises(ValueError, match="and adamw with mask= looks at single leaves"):
        opax.flattened(opax.adamw(0.1, mask="*.weight"))
    with pytest.raises(ValueError, match="and lamb looks at single leaves"):
        opax.flattened(opax.inject_hyperparams(opax.lamb)(0.1))
