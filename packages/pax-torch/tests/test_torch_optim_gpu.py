"""Optimizers and random numbers on a CUDA device."""

import pytest
import torch

import pax_torch as pax
from pax_torch import random

pytestmark = pytest.mark.gpu

CASES = [
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "fused": True}),
    (torch.optim.Adam, {"lr": 0.1, "amsgrad": True}),
    (torch.optim.Adam, {"lr": 0.1, "foreach": False}),
    (torch.optim.Adam, {"lr": 0.1, "fused": True}),
    (torch.optim.Adam, {"lr": 0.1, "capturable": True}),
    (torch.optim.NAdam, {"lr": 0.1, "capturable": True}),
    (torch.optim.RMSprop, {"lr": 0.1, "centered": True}),
    (torch.optim.Rprop, {"lr": 0.1}),
    (torch.optim.ASGD, {"lr": 0.1}),
    (torch.optim.Adafactor, {"lr": 0.1}),
]


def example(seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"w": (33, 7), "b": (5,), "s": ()}
    return {k: torch.randn(v, generator=generator).cuda() for k, v in shapes.items()}


@pytest.mark.parametrize("donate", [False, True], ids=["pure", "donate"])
@pytest.mark.parametrize(("cls", "options"), CASES, ids=str)
def test_same_bits_as_the_class(cls, options, donate):
    params = example(0)
    variables = {k: p.clone().requires_grad_() for k, p in params.items()}
    reference = cls(variables.values(), **options)
    optimizer = pax.functional_optimizer(cls, donate=donate, **options)
    state = optimizer.init(params)
    for step in range(20):
        grads = example(step + 1)
        for k, variable in variables.items():
            variable.grad = grads[k].clone()
        reference.step()
        before = pax.tree_clone(grads)
        params, state = optimizer.step(params, grads, state)
        torch.testing.assert_close(grads, before, rtol=0, atol=0)
    expected = {k: p.detach() for k, p in variables.items()}
    torch.testing.assert_close(params, expected, rtol=0, atol=0)


@pytest.mark.parametrize(("cls", "options"), CASES, ids=str)
def test_population(cls, options):
    optimizer = pax.functional_optimizer(cls, **options)
    members = [example(seed) for seed in range(3)]
    together = pax.tree_map(lambda *x: torch.stack(x), *members)

    def two_steps(params):
        state = optimizer.init(params)
        for _ in range(2):
            params, state = optimizer.step(params, params, state)
        return params

    alone = pax.tree_map(lambda *x: torch.stack(x), *map(two_steps, members))
    torch.testing.assert_close(pax.vmap(two_steps)(together), alone, rtol=1e-4, atol=1e-5)


def test_random_numbers_are_those_of_the_cpu():
    for seed in range(5):
        here, there = random.key(seed), random.key(seed, device="cuda")
        for draw in (
            lambda key: random.split(key, (3, 2)),
            lambda key: random.fold_in(key, 5),
            lambda key: random.uniform(key, (1000,), minval=-0.3, maxval=2.7),
            lambda key: random.uniform(key, (1000,), torch.bfloat16),
            lambda key: random.randint(key, (1000,), -7, 100),
            lambda key: random.randint(key, (1000,), -(2**62), 2**62, torch.int64),
            lambda key: random.bernoulli(key, 0.3, (1000,)),
            lambda key: random.permutation(key, 1000),
        ):
            assert torch.equal(draw(there).cpu(), draw(here))
        normal = random.normal(there, (1000,))
        torch.testing.assert_close(normal.cpu(), random.normal(here, (1000,)))


def test_schedule_of_steps_on_the_device():
    steps = torch.arange(50)
    lr_at_step = pax.schedule.warmup_cosine(0.0, 1.0, 5, 40)
    torch.testing.assert_close(lr_at_step(steps.cuda()).cpu(), lr_at_step(steps))
