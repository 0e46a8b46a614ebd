"""Objects of these packages that a record holds: their calls do not change its structure."""

import itertools

import jax.numpy as jnp
import pytest
import torch

import opax
import pax_jax
import pax_torch
import pax_tree
import torch2jax_bridge as bridge
from pax_torch import schedule


class Rec(pax_tree.Record):
    def _classify(self, name, value):
        return None

    def __init__(self, value):
        self.value = value


X, T = jnp.ones(3), torch.ones(3)
NET = torch.nn.Linear(3, 2)
PARAMS = pax_torch.get_params(NET)
SGD, StepLR = torch.optim.SGD, torch.optim.lr_scheduler.StepLR
Plateau = torch.optim.lr_scheduler.ReduceLROnPlateau


def cubes(x):
    return (x**3).sum()


def custom_vjp(made):
    f = made(cubes)
    f.defvjp(lambda x: (cubes(x), x), lambda x, g: (3 * x**2 * g,))
    return f


def custom_jvp(made):
    f = made(cubes)
    f.defjvp(lambda x, t: (cubes(*x), (3 * x[0] ** 2 * t[0]).sum()))
    return f


def stepped(optimizer):
    optimizer.step(PARAMS, PARAMS, optimizer.init(PARAMS))


def functional_module():
    f = pax_torch.functional_module(NET)
    return f, lambda: f(PARAMS, T)


def functional_optimizer():
    optimizer = pax_torch.functional_optimizer(SGD, lr=0.1)
    return optimizer, lambda: stepped(optimizer)


def multi_transform():
    optimizer = pax_torch.functional_optimizer(SGD, lr=0.1)
    labelled = pax_torch.multi_transform({"a": optimizer}, dict.fromkeys(PARAMS, "a"))
    return labelled, lambda: stepped(labelled)


def plateau():
    made = pax_torch.functional_schedule(Plateau, initial_lr=0.1)
    return made, lambda: made.step(1.0, made.init())


def replayed():
    made = pax_torch.functional_schedule(StepLR, initial_lr=0.1, step_size=2)
    return made, lambda: made(7)


def torch2jax_module():
    apply, params, _ = bridge.torch2jax(NET)
    return apply, lambda: apply(params, X)


def checkpoints(directory):
    made, steps = pax_jax.checkpoint.Checkpoints(directory), itertools.count()
    return made, lambda: made.save(next(steps), {"x": X})


def called(make, *args):
    """A case that makes a function, and its calls."""

    def case():
        made = make()
        return made, lambda: made(*args)

    return case


CASES = {
    "functional_module": functional_module,
    "functional_optimizer": functional_optimizer,
    "multi_transform": multi_transform,
    "functional_schedule": replayed,
    "functional_schedule of metrics": plateau,
    "schedule": called(lambda: schedule.cosine(0.1, 10), 3),
    "custom_jvp": called(lambda: custom_jvp(pax_torch.custom_jvp), T),
    "custom_vjp": called(lambda: custom_vjp(pax_torch.custom_vjp), T),
    "vjp": called(lambda: pax_torch.vjp(cubes, T)[1], torch.tensor(1.0)),
    "linearize": called(lambda: pax_torch.linearize(cubes, T)[1], T),
    "jit": called(lambda: pax_torch.jit(cubes, backend="eager"), T),
    "pax_jax.jit": called(lambda: pax_jax.jit(cubes), X),
    "pax_jax.grad": called(lambda: pax_jax.grad(cubes), X),
    "Checkpoints": checkpoints,
    "torch2jax of a module": torch2jax_module,
    "torch2jax": called(lambda: bridge.torch2jax(cubes), X),
    "jax2torch": called(lambda: bridge.jax2torch(cubes), T),
    "opax": called(lambda: opax.adam(0.1), {"w": X}),
}


@pytest.mark.parametrize("name", CASES)
def test_calls_of_a_static_object_do_not_change_the_structure(name, tmp_path):
    value, call = CASES[name](*[tmp_path] * (name == "Checkpoints"))
    record = Rec((value,))
    before = pax_tree.tree_structure(record)
    call()
    call()
    assert pax_tree.tree_structure(record) == before
