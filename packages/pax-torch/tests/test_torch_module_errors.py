"""Errors of functional_module name the module, parameter or buffer at fault."""

import threading

import pytest
import torch
from torch import nn

import pax_torch as pax


def assert_same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.fixture
def x():
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def net():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@pytest.mark.parametrize("convert", [pax.functional_module, pax.get_params, pax.get_buffers])
def test_no_module(convert):
    with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module, got 3 of type int"):
        convert(3)


@pytest.mark.parametrize("convert", [pax.functional_module, pax.get_params])
def test_lazy_module(convert):
    net = nn.Sequential(nn.LazyLinear(2))
    with pytest.raises(ValueError, match=r"parameter '0\.weight' .* run the module once"):
        convert(net)


def test_scripted_module():
    net = nn.Sequential(torch.jit.script(nn.Linear(3, 2)))
    with pytest.raises(TypeError, match=r"scripted submodule '0' .*made of"):
        pax.functional_module(net)


def test_compiled_module():
    with pytest.raises(TypeError, match=r"compiled module \(OptimizedModule\); convert"):
        pax.functional_module(torch.compile(nn.Linear(3, 2), backend="eager"))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        pytest.param(
            lambda p: {k: v for k, v in p.items() if k != "0.bias"},
            ValueError,
            "params lacks '0.bias', which Sequential needs",
            id="missing",
        ),
        pytest.param(
            lambda p: {**p, "extra": torch.ones(1)},
            ValueError,
            "params has 'extra', which Sequential does not have",
            id="extra",
        ),
        pytest.param(
            lambda p: {**p, "0.bias": torch.ones(5)},
            ValueError,
            r"params\['0.bias'\] has shape \(5,\), but Sequential needs shape \(2,\)",
            id="shape",
        ),
        pytest.param(
            lambda p: {**p, "0.bias": 1.0},
            TypeError,
            r"params\['0.bias'\] must be a tensor, got 1.0 of type float",
            id="number",
        ),
        pytest.param(
            lambda p: list(p.values()),
            TypeError,
            r"params must be a dictionary .* get_params returns, got list",
            id="list",
        ),
    ],
)
def test_params(net, x, change, error, message):
    with pytest.raises(error, match=message):
        pax.functional_module(net)(change(pax.get_params(net)), x)


def test_buffers(net, x):
    forward, params = pax.functional_module(net), pax.get_params(net)
    with pytest.raises(ValueError, match=r"buffers lacks '1\.running_mean', '1\.running_var'"):
        forward(params, x, buffers={})


class Holder:
    """An object that is copied with the module, but not for each call."""

    def __init__(self, held):
        self.held = held


def test_module_hidden_in_an_object_is_no_silent_mistake(x):
    class Hidden(nn.Linear):
        def __init__(self):
            super().__init__(3, 3)
            self.holder = Holder(self)

        def forward(self, x):
            return nn.Linear.forward(self.holder.held, x)

    net = Hidden()
    with pytest.raises(RuntimeError, match="meta"):
        pax.functional_module(net)(pax.get_params(net), x)


def test_attribute_that_cannot_be_copied(x):
    net = nn.Sequential(nn.Linear(3, 3))
    net[0].lock = threading.Lock()
    with pytest.raises(TypeError, match=r"cannot copy attribute 'lock' of submodule '0': .*pickle"):
        pax.functional_module(net)
    forward = pax.functional_module(net, preserve_original=False)
    assert_same(forward(pax.get_params(net), x)[0], net(x).detach())


def test_computed_tensors_in_containers_and_objects(x):
    class Remembers(nn.LSTM):
        def forward(self, x):
            out, self.state = super().forward(x, getattr(self, "state", None))
            self.held, self.loop = Holder([out]), {"out": out}
            self.loop["self"] = self.loop
            return out

    net = Remembers(3, 3)
    net(x)
    found, _ = pax.functional_module(net)(pax.get_params(net), x)
    assert_same(found, net(x).detach())


class Slots(nn.Linear):
    __slots__ = ("layers", "power")

    def __init__(self):
        super().__init__(3, 3)
        self.power, self.layers = 2, [self]

    def forward(self, x):
        return nn.Linear.forward(self.layers[0], x) ** self.power


@pytest.mark.parametrize("preserve", [True, False])
def test_slots(x, preserve):
    net = Slots()
    params = pax.tree_map(lambda p: p * 2, pax.get_params(net))
    found, _ = pax.functional_module(net, preserve)(params, x)
    assert_same(found, nn.functional.linear(x, params["weight"], params["bias"]) ** 2)


def test_keyword_of_the_module_that_is_named_params(x):
    class Named(nn.Linear):
        def forward(self, x, params):
            return super().forward(x) * params

    net = Named(3, 3)
    found, _ = pax.functional_module(net)(pax.get_params(net), x, params=2.0)
    assert_same(found, net(x, params=2.0).detach())


def test_stacked_module_list():
    nets = nn.ModuleList([nn.BatchNorm1d(3) for _ in range(4)])
    params, buffers = torch.func.stack_module_state(nets)
    assert_same(pax.stack_params(nets), pax.tree_map(torch.Tensor.detach, params))
    assert_same(pax.stack_buffers(nets), buffers)


def test_weights_that_would_be_kept_between_calls(x):
    parametrize = torch.nn.utils.parametrize
    net = torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    forward, params = pax.functional_module(net), pax.get_params(net)
    with parametrize.cached():
        with pytest.raises(RuntimeError, match=r"cannot run in .*parametrize\.cached\(\)"):
            forward(params, x)
        plain = nn.Linear(3, 3)
        assert_same(pax.functional_module(plain)(pax.get_params(plain), x)[0], plain(x).detach())
    assert_same(forward(params, x)[0], net(x).detach())
