"""Buffers of any kind come back as `named_buffers` of the module itself has them."""

import copy

import pytest
import torch
from torch import nn

import pax_torch as pax


def assert_same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.fixture
def x():
    return torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(1))


class Buffers(nn.Module):
    """Has buffers `given` and calls `run(self, x)`."""

    def __init__(self, run, **given):
        super().__init__()
        self.run = run
        self.weight = nn.Parameter(torch.tensor(2.0))
        for name, value in given.items():
            self.register_buffer(name, value)

    def forward(self, x):
        return self.run(self, x)


def grow(net, x):
    net.c = torch.cat([net.c, x[:1, 0]])
    return x


def fill_slot(net, x):
    net.c = x.sum() if net.c is None else net.c + 1
    return x


def register(net, x):
    net.register_buffer("d", x.sum() + getattr(net, "d", 0))
    return x


def register_in_layer(net, x):
    net.layer.register_buffer("d", x.sum() + getattr(net.layer, "d", 0))
    return x


def in_layer():
    net = Buffers(register_in_layer)
    net.layer = nn.ReLU()
    return net


def clear(net, x):
    result, net.c = x if net.c is None else x + net.c, None
    return result


def alternate(net, x):
    net.c = torch.ones(3) if net.c is None else None
    return x


CHANGES = {
    "grows": lambda: Buffers(grow, c=torch.zeros(1)),
    "fills a slot": lambda: Buffers(fill_slot, c=None),
    "registers": lambda: nn.Sequential(Buffers(register)),
    "registers in a layer of PyTorch": in_layer,
    "clears": lambda: Buffers(clear, c=torch.ones(3)),
    "clears and fills": lambda: Buffers(alternate, c=torch.ones(3)),
    "fills and clears": lambda: Buffers(alternate, c=None),
    "has none": lambda: nn.BatchNorm1d(3, track_running_stats=False),
}


@pytest.mark.parametrize("preserve", [True, False])
@pytest.mark.parametrize("make", CHANGES.values(), ids=CHANGES)
def test_changes_come_back(make, preserve, x):
    net, reference = make(), make()
    forward, params, buffers = pax.functional_module(net, preserve), pax.get_params(net), None
    names = list(net.state_dict())
    for _ in range(4):
        out, buffers = forward(params, x[0], buffers=buffers)
        assert_same(out, reference(x[0]).detach())
        found = {name: buffer for name, buffer in buffers.items() if buffer is not None}
        assert_same(found, dict(reference.named_buffers()))
    assert list(net.state_dict()) == names


def test_unknown_buffers_are_refused(x):
    forward = pax.functional_module(Buffers(fill_slot, c=None))
    params = {"weight": torch.ones(())}
    with pytest.raises(ValueError, match="buffers has 'e', which Buffers does not have"):
        forward(params, x, buffers={"e": torch.ones(1)})
    with pytest.raises(TypeError, match=r"buffers\['c'\] must be a tensor, got 1 of type int"):
        forward(params, x, buffers={"c": 1})


def test_parameter_that_is_a_buffer_too(x):
    net = nn.Linear(3, 3)
    net.register_buffer("again", net.weight)
    _, buffers = pax.functional_module(net)(pax.get_params(net), x)
    assert_same(buffers, {"again": net.weight.detach()})


MAPPED = {
    "mask": lambda: Buffers(
        lambda net, x: x[:, net.m] * net.weight, m=torch.tensor([True, False, True])
    ),
    "number": lambda: Buffers(lambda net, x: x * int(net.n), n=torch.tensor(3)),
    "condition": lambda: Buffers(lambda net, x: x if net.n > 1 else -x, n=torch.tensor(3)),
    "key": lambda: Buffers(
        lambda net, x: x * net.k.long().sum(), k=torch.tensor([1, 2], dtype=torch.uint32)
    ),
    "cumulative": lambda: nn.BatchNorm1d(3, momentum=None),
    "momentum": lambda: nn.BatchNorm1d(3),
}


@pytest.mark.parametrize("make", MAPPED.values(), ids=MAPPED)
def test_training_under_vmap(make, x):
    net = make()
    forward, params = pax.functional_module(net), pax.get_params(net)
    out, buffers = pax.vmap(lambda x: forward(params, x))(x)
    for i in range(len(x)):
        reference = copy.deepcopy(net)
        torch.testing.assert_close(out[i], reference(x[i]).detach())
        found = {name: buffer[i] for name, buffer in buffers.items()}
        torch.testing.assert_close(found, dict(reference.named_buffers()))


def test_buffers_in_a_dictionary_that_a_forward_puts_in_place_of_the_old_one(x):
    def run(net, x):
        net._buffers = {**net._buffers, "count": net.count + 1}
        return x

    net = Buffers(run, count=torch.zeros(()))
    _, buffers = pax.functional_module(net)(pax.get_params(net), x)
    assert_same(buffers["count"], torch.tensor(1.0))
