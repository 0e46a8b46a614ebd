"""Errors of functional_module name the module, parameter or buffer at fault."""

import functools

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
    wrong = {**pax.get_buffers(net), "1.running_var": torch.ones(3)}
    with pytest.raises(ValueError, match=r"buffers\['1\.running_var'\] has shape \(3,\)"):
        forward(params, x, buffers=wrong)


def test_module_hidden_in_an_object_is_no_silent_mistake(x):
    class Hidden(nn.Linear):
        def __init__(self):
            super().__init__(3, 3)
            self.call = functools.partial(nn.Linear.forward, self)

        def forward(self, x):
            return self.call(x)

    net = Hidden()
    with pytest.raises(RuntimeError, match="meta"):
        pax.functional_module(net)(pax.get_params(net), x)
