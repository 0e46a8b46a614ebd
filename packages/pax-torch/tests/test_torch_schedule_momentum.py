"""functional_schedule gives all that a scheduler writes: the learning rate, momentum, and what else."""

import math
from functools import partial

import pytest
import torch
from torch.optim import lr_scheduler as lrs

import pax_torch as pax

STEPS = 25
SCHEDULERS = {
    "LambdaLR": {"lr_lambda": lambda step: 1 / (step + 1)},
    "MultiplicativeLR": {"lr_lambda": lambda step: 0.9},
    "StepLR": {"step_size": 7},
    "MultiStepLR": {"milestones": [3, 10]},
    "ConstantLR": {},
    "LinearLR": {},
    "ExponentialLR": {"gamma": 0.9},
    "PolynomialLR": {},
    "CosineAnnealingLR": {"T_max": 10},
    "CosineAnnealingWarmRestarts": {"T_0": 5},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4},
    "CyclicLR-down": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4, "mode": "triangular2"},
    "CyclicLR-own": {
        "base_lr": 0.01,
        "max_lr": 0.1,
        "step_size_up": 4,
        "scale_fn": lambda x: 1 / x,
    },
    "OneCycleLR": {"max_lr": 0.1, "total_steps": STEPS + 1},
    "OneCycleLR-three": {"max_lr": 0.1, "total_steps": STEPS + 1, "three_phase": True},
    "OneCycleLR-alone": {"max_lr": 0.1, "total_steps": STEPS + 1, "cycle_momentum": False},
    "SequentialLR": {
        "schedulers": [
            partial(lrs.LinearLR, total_iters=4),
            partial(lrs.OneCycleLR, max_lr=0.1, total_steps=STEPS + 1),
        ],
        "milestones": [4],
    },
    "ChainedScheduler": {
        "schedulers": [partial(lrs.LinearLR, total_iters=4), partial(lrs.ExponentialLR, gamma=0.9)]
    },
}
OPTIMIZERS = {
    "SGD": {"lr": 0.1},
    "SGD-momentum": {"lr": 0.1, "momentum": 0.5, "nesterov": True},
    "RMSprop": {"lr": 0.1},
    "Adam": {"lr": 0.1},
    "AdamW": {"lr": 0.1, "betas": (0.8, 0.99)},
    "Adamax": {"lr": 0.1},
    "NAdam": {"lr": 0.1},
    "RAdam": {"lr": 0.1},
    "Adadelta": {"lr": 0.1},
    "ASGD": {"lr": 0.1},
}
WITH_MOMENTUM = [name for name in OPTIMIZERS if name not in {"Adadelta", "ASGD"}]


def scheduler_of(name, optimizer):
    kwargs = dict(SCHEDULERS[name])
    if "schedulers" in kwargs:
        kwargs["schedulers"] = [make(optimizer) for make in kwargs["schedulers"]]
    cls = getattr(lrs, name.partition("-")[0])
    return cls(**kwargs) if cls is lrs.ChainedScheduler else cls(optimizer, **kwargs)


def cycles(name):
    return (
        name.partition("-")[0] in {"CyclicLR", "OneCycleLR", "SequentialLR"} and "alone" not in name
    )


def loss(w):
    return ((w - 1) ** 2).sum()


def trained(optimizer_name, scheduler_name):
    """Plain PyTorch: the parameters after some steps, and the hyperparameters in each."""
    options = OPTIMIZERS[optimizer_name]
    w = torch.zeros(2, requires_grad=True)
    optimizer = getattr(torch.optim, optimizer_name.partition("-")[0])([w], **options)
    scheduler, groups = scheduler_of(scheduler_name, optimizer), []
    for _ in range(STEPS):
        groups.append(dict(optimizer.param_groups[0]))
        optimizer.zero_grad()
        loss(w).backward()
        optimizer.step()
        scheduler.step()
    return w.detach(), groups


def functional(optimizer_name, scheduler_name):
    name, options = optimizer_name.partition("-")[0], OPTIMIZERS[optimizer_name]
    optimizer = pax.functional_optimizer(getattr(torch.optim, name), **options)
    cls = getattr(lrs, scheduler_name.partition("-")[0])
    return optimizer, pax.functional_schedule(
        cls, optimizer=optimizer, **SCHEDULERS[scheduler_name]
    )


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_trains_as_the_scheduler_does(name, scheduler):
    if cycles(scheduler) and name not in WITH_MOMENTUM:
        with pytest.raises(ValueError, match="must support momentum or beta1"):
            functional(name, scheduler)
        return
    expected, groups = trained(name, scheduler)
    optimizer, schedule = functional(name, scheduler)
    params = torch.zeros(2)
    state = optimizer.init(params, **schedule(0))
    for i in range(STEPS):
        values = schedule(i)
        for key in {"lr", "momentum", "betas"} & groups[i].keys():
            own = optimizer.hyperparameters[key]
            assert values.get(key, own) == pytest.approx(groups[i][key], rel=1e-9, abs=1e-12)
        params, state = optimizer.step(params, pax.grad(loss)(params), state, **values)
    torch.testing.assert_close(params, expected)


@pytest.mark.parametrize("scheduler", ["OneCycleLR", "OneCycleLR-three", "CyclicLR", "StepLR"])
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_formulas_take_traced_steps(name, scheduler):
    optimizer, schedule = functional(name, scheduler)

    def train(params, state, i):
        return optimizer.step(params, pax.grad(loss)(params), state, **schedule(i))

    params, states = [torch.zeros(2)] * 2, [optimizer.init(torch.zeros(2), **schedule(0))] * 2
    jitted = pax.jit(train, backend="eager")
    params[1], states[1] = train(params[1], states[1], 0)
    params[0], states[0] = jitted(params[0], states[0], torch.tensor(0))
    for i in range(1, 8):
        params[1], states[1] = train(params[1], states[1], i)
        params[0], states[0] = jitted(params[0], states[0], torch.tensor(i))
    torch.testing.assert_close(params[0], params[1])


@pytest.mark.parametrize("scheduler", ["CyclicLR-own", "OneCycleLR", "SequentialLR"])
@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_tensors_of_steps(name, scheduler):
    _, schedule = functional(name, scheduler)
    rows = [pax.tree_leaves(schedule(i)) for i in range(6)]
    columns = pax.tree_leaves(schedule(torch.arange(6).reshape(2, 3)))
    for column, expected in zip(columns, zip(*rows, strict=True), strict=True):
        torch.testing.assert_close(
            torch.as_tensor(column).expand(2, 3), torch.tensor(expected).reshape(2, 3)
        )
    assert pax.tree_structure(schedule(torch.empty(0, dtype=torch.int64))) == pax.tree_structure(
        schedule(0)
    )


class DecayToo(lrs.LRScheduler):
    """Writes the weight decay as well, from the third step on."""

    def get_lr(self):
        for group in self.optimizer.param_groups:
            if self.last_epoch > 2:
                group["weight_decay"] = 0.1 * self.last_epoch
        return [lr * 0.5**self.last_epoch for lr in self.base_lrs]


class BetasToo(lrs.LRScheduler):
    """Writes a hyperparameter that SGD, say, does not have."""

    def get_lr(self):
        for group in self.optimizer.param_groups:
            group["betas"] = (0.5, 0.9)
        return self.base_lrs


def test_schedulers_of_a_users_own():
    adam = pax.functional_optimizer(torch.optim.AdamW, lr=1.0)
    schedule = pax.functional_schedule(DecayToo, optimizer=adam)
    assert schedule(0) == {"lr": 1.0}
    assert schedule(3) == {"lr": 0.125, "weight_decay": pytest.approx(0.3)}
    of_all = schedule(torch.tensor([3, 4]))
    torch.testing.assert_close(of_all["weight_decay"], torch.tensor([0.3, 0.4]))
    assert pax.functional_schedule(BetasToo, optimizer=adam)(0) == {"lr": 1.0, "betas": (0.5, 0.9)}


class TestRefusals:
    """A learning rate alone is refused where more is written."""

    @pytest.mark.parametrize("make", [pax.functional_schedule, pax.StandaloneScheduler])
    @pytest.mark.parametrize("name", ["CyclicLR", "CyclicLR-own", "OneCycleLR", "SequentialLR"])
    def test_momentum(self, name, make):
        cls = getattr(lrs, name.partition("-")[0])
        with pytest.raises(
            TypeError, match="writes the momentum of the optimizer as well as its lr"
        ):
            make(cls, initial_lr=0.1, **SCHEDULERS[name])

    def test_says_what_to_do(self):
        with pytest.raises(
            TypeError, match=r"optimizer=functional_opt.*or cycle_momentum=False to"
        ):
            pax.functional_schedule(lrs.OneCycleLR, max_lr=0.1, total_steps=10)

    def test_what_a_scheduler_of_a_user_writes(self):
        lr_at_step = pax.functional_schedule(DecayToo, initial_lr=0.1)
        assert lr_at_step(2) == 0.025
        with pytest.raises(TypeError, match="DecayToo writes the weight_decay of the optimizer"):
            lr_at_step(3)
        with pytest.raises(TypeError, match="BetasToo writes the betas of the optimizer"):
            pax.functional_schedule(BetasToo)

    @pytest.mark.parametrize(
        ("kwargs", "message"),
        [
            (
                {"optimizer": torch.optim.Adam},
                "optimizer must be what functional_optimizer returns",
            ),
            (
                {"optimizer": pax.functional_optimizer(torch.optim.SGD), "initial_lr": 0.1},
                "as initial_lr or with the optimizer, not both",
            ),
        ],
    )
    def test_optimizer(self, kwargs, message):
        with pytest.raises(TypeError, match=message):
            pax.functional_schedule(lrs.StepLR, 3, **kwargs)

    def test_optimizer_by_position(self):
        with pytest.raises(TypeError, match="give it by name, as optimizer="):
            pax.functional_schedule(lrs.StepLR, pax.functional_optimizer(torch.optim.SGD), 3)


def test_a_tensor_of_the_optimizer_is_not_written():
    lr = torch.tensor(0.1)
    optimizer = pax.functional_optimizer(torch.optim.Adam, lr=lr)
    schedule = pax.functional_schedule(lrs.ExponentialLR, gamma=0.5, optimizer=optimizer)
    assert schedule(1) == {"lr": pytest.approx(0.05)}
    pax.functional_schedule(lrs.MultiplicativeLR, lambda step: 0.5, optimizer=optimizer)(3)
    assert lr.item() == pytest.approx(0.1)


def test_plateau_begins_with_the_optimizers_rate():
    sgd = pax.functional_optimizer(torch.optim.SGD, lr=0.3)
    assert pax.functional_schedule(lrs.ReduceLROnPlateau, optimizer=sgd).init()["lr"] == 0.3


def test_standalone_scheduler_goes_on_from_its_state():
    sgd = pax.functional_optimizer(torch.optim.SGD, lr=0.3)
    make = partial(
        pax.StandaloneScheduler, lrs.OneCycleLR, max_lr=0.1, total_steps=9, optimizer=sgd
    )
    first, second = make(), make()
    expected = [first.step() for _ in range(3)]
    second.load_state_dict(first.state_dict())
    assert second.hyperparameters == expected[-1] == first.hyperparameters
    assert second.step() == first.step()


@pytest.mark.parametrize(
    "kwargs",
    [{"transition_steps": 0}, {"transition_begin": -1}, {"gamma": -0.5, "transition_steps": 2}],
)
def test_exponential_out_of_range(kwargs):
    with pytest.raises(ValueError, match="exponential needs"):
        pax.schedule.exponential(1.0, **{"gamma": 0.5, **kwargs})
    assert math.isclose(pax.schedule.exponential(1.0, -0.5)(3), -0.125)
