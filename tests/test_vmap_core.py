"""The core of `vmap` that pax_torch and torch2jax_bridge each have, since neither may import the other."""

import inspect

import pytest
import torch

import pax_torch._compat
import torch2jax_bridge._compat

BOTH = [pax_torch._compat, torch2jax_bridge._compat]


def test_both_packages_have_the_same_core():
    ours, theirs = (inspect.getsource(module.map_tensors) for module in BOTH)
    assert ours == theirs


@pytest.mark.parametrize("module", BOTH)
@pytest.mark.parametrize("has_vmap", [True, False])
def test_core_maps_over_some_of_the_tensors(module, has_vmap, monkeypatch):
    monkeypatch.setattr(module, "_HAS_VMAP", has_vmap)
    x, w = torch.arange(6.0).reshape(3, 2), torch.tensor([1.0, 2.0])

    def call(x, w):
        return x * w, (x @ w)

    products, sums = module.map_tensors(call, (x, w), (0, None), 3, "error")
    torch.testing.assert_close(products, x * w)
    torch.testing.assert_close(sums, x @ w)
    (empty,) = module.map_tensors(lambda x: (x * 2,), (torch.empty(0, 2),), (0,), 0, "error")
    assert empty.shape == (0, 2)
