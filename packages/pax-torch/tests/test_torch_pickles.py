"""Functional modules and schedules are pickled when what they hold is, and compute the same afterwards."""

import copy
import functools
import pickle

import pytest
import torch
from torch.optim import lr_scheduler

import pax_torch
from pax_torch import schedule


def again(value):
    return pickle.loads(pickle.dumps(value))


def double(step):
    return 2.0**step


FIRST = functools.partial(lr_scheduler.ConstantLR, factor=0.5)
SGD = pax_torch.functional_optimizer(torch.optim.SGD, momentum=0.9)
SCHEDULES = {
    "step": lambda: pax_torch.functional_schedule(lr_scheduler.StepLR, step_size=3),
    "multi step": lambda: pax_torch.functional_schedule(lr_scheduler.MultiStepLR, [2, 4]),
    "lambda": lambda: pax_torch.functional_schedule(lr_scheduler.LambdaLR, double, initial_lr=0.1),
    "replayed": lambda: pax_torch.functional_schedule(lr_scheduler.MultiplicativeLR, double),
    "sequential": lambda: pax_torch.functional_schedule(
        lr_scheduler.SequentialLR, schedulers=[FIRST, FIRST], milestones=[3]
    ),
    "momentum": lambda: pax_torch.functional_schedule(
        lr_scheduler.OneCycleLR, max_lr=1.0, total_steps=10, optimizer=SGD
    ),
    "schedule.step_lr": lambda: schedule.step_lr(1.0, 3),
    "schedule.multistep_lr": lambda: schedule.multistep_lr(1.0, [2, 4]),
    "schedule.exponential": lambda: schedule.exponential(1.0, 3, 0.5),
    "schedule.linear": lambda: schedule.linear(1.0, 0.0, 5),
    "schedule.cosine": lambda: schedule.cosine(1.0, 5),
    "schedule.warmup_cosine": lambda: schedule.warmup_cosine(0.0, 1.0, 2, 5),
    "schedule.one_cycle": lambda: schedule.one_cycle(1.0, 10),
    "schedule.join": lambda: schedule.join(
        [schedule.linear(1.0, 0.0, 5), schedule.cosine(1.0, 5)], [2]
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_comes_back(name):
    one = SCHEDULES[name]()
    other = again(one)
    assert [other(step) for step in range(7)] == [one(step) for step in range(7)]
    steps = torch.arange(5)
    expected, found = one(steps), other(steps)
    assert repr(found) == repr(expected)
    assert again(other)(3) == one(3)


def test_a_schedule_is_that_of_its_arguments_when_it_was_made():
    milestones = [2, 4]
    one = schedule.multistep_lr(1.0, milestones)
    milestones.append(5)
    assert again(one)(6) == one(6)


def test_what_a_schedule_holds_must_be_picklable():
    one = pax_torch.functional_schedule(lr_scheduler.LambdaLR, lambda step: 1.0)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(one)


def test_the_schedule_of_a_plateau_comes_back():
    one = pax_torch.functional_schedule(lr_scheduler.ReduceLROnPlateau, patience=0)
    results = []
    for each in (one, again(one)):
        state = each.init()
        for metric in (1.0, 2.0, 3.0):
            results.append(each.step(metric, state))
            state = next(part for part in results[-1] if isinstance(part, dict))
    assert repr(results[:3]) == repr(results[3:])


@pytest.mark.parametrize("strict", [True, False])
def test_a_functional_module_comes_back(strict):
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.ReLU())
    forward = pax_torch.functional_module(net, strict=strict)
    params, buffers = pax_torch.get_params(net), pax_torch.get_buffers(net)
    given = params if strict else {"0.weight": params["0.weight"]}
    x = torch.ones(4, 2)
    expected = forward(given, x, buffers=buffers)
    for other in (again(forward), again(again(forward)), copy.deepcopy(forward)):
        for a, b in zip(
            pax_torch.tree_leaves(other(given, x)), pax_torch.tree_leaves(expected), strict=True
        ):
            assert torch.equal(a, b)
    grads = pax_torch.grad(lambda p: again(forward)(p, x, buffers=buffers)[0].sum())(given)
    assert grads.keys() == given.keys()
    assert repr(forward) == "<functional_module(Sequential)>"


def test_a_functional_module_of_what_cannot_be_pickled_says_so():
    net = torch.nn.Linear(2, 3)
    net.register_forward_hook(lambda module, args, out: out)
    with pytest.raises((pickle.PicklingError, AttributeError), match="pickle"):
        pickle.dumps(pax_torch.functional_module(net))
