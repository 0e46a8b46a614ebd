"""functional_module against the modules themselves: values, purity, state and errors."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import pax_torch as pax


def assert_same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


class Shared(nn.Module):
    """A submodule that two paths reach."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.again = self.body

    def forward(self, x):
        return self.again(self.body(x))


class Lists(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.ones(3) * i) for i in range(3)])
        self.named = nn.ParameterDict({"a": nn.Parameter(torch.ones(3))})

    def forward(self, x):
        for weight in self.weights:
            x = x + weight
        return x * self.named["a"]


class References(nn.Module):
    """Submodules, methods and parameters that are reached through plain attributes."""

    def __init__(self):
        super().__init__()
        self.linear, self.scale = nn.Linear(3, 3), nn.Parameter(torch.ones(3))
        self.layers = {"list": [self.linear], "method": self.linear.forward}
        self.scales = (self.scale,)

    def forward(self, x):
        return self.layers["method"](self.layers["list"][0](x)) * self.scales[0]


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        return checkpoint(lambda x: self.linear(x).sin(), x, use_reentrant=False)


def hooked():
    net = nn.Linear(3, 3)
    net.register_forward_hook(lambda module, args, out: out * module.weight.sum())
    return net


def normalized():
    return torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))


MODULES = {
    "linear": lambda: nn.Linear(3, 2),
    "no bias": lambda: nn.Linear(3, 2, bias=False),
    "no parameters": lambda: nn.Sequential(nn.ReLU(), nn.Flatten()),
    "batch norm": lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU()),
    "tied": Tied,
    "shared": Shared,
    "lists": Lists,
    "references": References,
    "hooks": hooked,
    "weight norm": normalized,
    "checkpoint": Checkpointed,
    "lstm": lambda: nn.LSTM(3, 4, num_layers=2),
    "transformer": lambda: nn.TransformerEncoderLayer(3, 1, 8, dropout=0.0),
}


@pytest.fixture(params=MODULES.values(), ids=MODULES.keys())
def net(request):
    torch.manual_seed(0)
    return request.param()


@pytest.fixture
def x():
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(1))


def total(out):
    return sum(leaf.square().sum() for leaf in pax.tree_leaves(out))


@pytest.mark.parametrize("is_training", [True, False], ids=["training", "evaluation"])
def test_computes_what_the_module_does(net, x, is_training):
    forward = pax.functional_module(net)
    params, buffers = pax.get_params(net), pax.get_buffers(net)
    reference = copy.deepcopy(net).train(is_training)

    def loss(params):
        out, new_buffers = forward(params, x, buffers=buffers, is_training=is_training)
        return total(out), (out, new_buffers)

    if params:
        (_, (out, new_buffers)), grads = pax.value_and_grad(loss, has_aux=True)(params)
    else:
        (_, (out, new_buffers)), grads = loss(params), {}

    expected = reference(x)
    assert_same(pax.tree_leaves(out), [t.detach() for t in pax.tree_leaves(expected)])
    assert_same(new_buffers, dict(reference.named_buffers()))
    if params:
        total(expected).backward()
    assert_same(grads, {name: p.grad for name, p in reference.named_parameters()})


def test_original_is_left_alone(net, x):
    net.eval()
    before = {name: (t, t.clone()) for name, t in net.state_dict(keep_vars=True).items()}
    forward = pax.functional_module(net)
    params = pax.tree_map(lambda p: p + 1, pax.get_params(net))
    forward(params, x)
    for name, tensor in net.state_dict(keep_vars=True).items():
        assert tensor is before[name][0]
        assert_same(tensor, before[name][1])
    assert not any(module.training for module in net.modules())
    assert all(p.grad is None for p in net.parameters())


def test_arguments_are_left_alone(net, x):
    forward = pax.functional_module(net)
    given = (pax.get_params(net), pax.get_buffers(net))
    before = pax.tree_map(torch.clone, given)
    first = forward(given[0], x, buffers=given[1])
    second = forward(given[0], x, buffers=given[1])
    assert_same(given, before)
    assert_same(pax.tree_leaves(second), pax.tree_leaves(first))


def test_without_preserving_the_original(net, x):
    expected = pax.functional_module(net)(pax.get_params(net), x)
    forward = pax.functional_module(net, preserve_original=False)
    before = {name: t.clone() for name, t in net.state_dict().items()}
    assert_same(pax.tree_leaves(forward(pax.get_params(net), x)), pax.tree_leaves(expected))
    assert_same(dict(net.state_dict()), before)
    assert all(module.training for module in net.modules())


def test_later_training_of_the_original_is_not_seen(x):
    net = nn.BatchNorm1d(3)
    forward, params = pax.functional_module(net), pax.get_params(net)
    expected = forward(params, x, is_training=False)
    net(x + 1)
    with torch.no_grad():
        net.weight.zero_()
    assert_same(forward(params, x, is_training=False), expected)


def test_tied_parameters_are_one():
    params = pax.get_params(Tied())
    assert list(params) == ["first.weight", "first.bias", "second.bias"]


def test_parameters_that_are_not_given_are_the_modules_own():
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    forward = pax.functional_module(net, strict=False)
    x, head = torch.ones(5, 3), {"1.bias": torch.tensor([1.0, -1.0])}

    def loss(params):
        return forward(params, x)[0].square().sum()

    with torch.no_grad():
        net[0].weight.mul_(2)
    expected = {**pax.get_params(net), **head}
    value, grads = pax.value_and_grad(loss)(head)
    torch.testing.assert_close(value, torch.func.functional_call(net, expected, x).square().sum())
    whole = pax.grad(lambda p: pax.functional_module(net)(p, x)[0].square().sum())(expected)
    torch.testing.assert_close(grads, {"1.bias": whole["1.bias"]})
    assert all(p.grad is None for p in net.parameters())
    with pytest.raises(ValueError, match="params has 'head', which Sequential does not have"):
        forward({"head": x}, x)
    with pytest.raises(ValueError, match=r"params\['1\.bias'\] has shape \(3,\)"):
        forward({"1.bias": torch.ones(3)}, x)
