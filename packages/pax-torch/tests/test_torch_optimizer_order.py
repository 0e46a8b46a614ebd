"""States of other optimizers, and arguments in another order, for each class of torch.optim."""

import inspect

import pytest
import torch

import pax_torch as pax

CLASSES = {
    name: cls
    for name, cls in vars(torch.optim).items()
    if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer) and name != "Optimizer"
}
PARAMS = {"w": torch.ones(2, 2), "v": torch.ones(2, 2)}


def loss(params):
    return sum((p**2).sum() for p in params.values())


def stepped(name, **options):
    """Return an optimizer and its state after two steps."""
    optimizer = pax.functional_optimizer(CLASSES[name], lr=0.1, **options)
    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(2):
        if name == "LBFGS":
            params, state = optimizer.step(params, None, state, value_fn=loss)
            continue
        grads = {key: p.to_sparse() if name == "SparseAdam" else p for key, p in params.items()}
        params, state = optimizer.step(params, grads, state)
    return optimizer, state


def options(name):
    """Options with which a class keeps all that it may keep."""
    known = pax.functional_optimizer(CLASSES[name]).hyperparameters
    wanted = {"amsgrad": True, "centered": True, "momentum": 0.9}
    return {key: value for key, value in wanted.items() if key in known}


STATES = {name: [stepped(name)[1], stepped(name, **options(name))[1]] for name in CLASSES}


@pytest.mark.parametrize("name", CLASSES)
def test_a_state_of_another_class_is_refused(name):
    kept = set().union(*STATES[name])
    optimizer = pax.functional_optimizer(CLASSES[name], lr=0.1)
    grads = None if name == "LBFGS" else PARAMS
    extra = {"value_fn": loss} if name == "LBFGS" else {}
    for state in (state for states in STATES.values() for state in states):
        if not state.keys() <= kept:
            with pytest.raises(
                ValueError, match=f"which {name} does not keep; it keeps .* another"
            ):
                optimizer.step(PARAMS, grads, state, **extra)


@pytest.mark.parametrize("name", sorted(CLASSES.keys() - {"LBFGS", "SparseAdam"}))
def test_arguments_in_another_order(name):
    optimizer, state = stepped(name)
    params = {key: torch.nn.Parameter(p) for key, p in PARAMS.items()}
    message = r"is a torch\.nn\.Parameter, and no parameter is one.* step\(params, grads, state\)"
    with pytest.raises(ValueError, match=message):
        optimizer.step(PARAMS, params, state)
    optimizer.step(params, PARAMS, state)
    optimizer.step(params, params, state)
    with pytest.raises(ValueError, match=r"the order is step\(params, grads, state\)"):
        optimizer.step({**PARAMS, "v": None}, PARAMS, optimizer.init({**PARAMS, "v": None}))
    if state:
        with pytest.raises((TypeError, ValueError), match=r"step\(params, grads, state\)"):
            optimizer.step(PARAMS, state, PARAMS)
