"""pax_torch and the bridge, which may not import each other, make `vmap` of the same few lines."""

import inspect

import pytest
import torch

from pax_torch import _compat as ours
from torch2jax_bridge import _compat as theirs


@pytest.mark.parametrize("name", ["map_tensors", "_load_vmap_rules"])
def test_the_text_is_the_same(name):
    assert inspect.getsource(getattr(ours, name)) == inspect.getsource(getattr(theirs, name))


@pytest.mark.parametrize("module", [ours, theirs])
@pytest.mark.parametrize("has_names", [True, False])
def test_it_maps_some_of_the_tensors_and_none_at_all(module, has_names, monkeypatch):
    monkeypatch.setattr(module, "_HAS_VMAP", has_names)
    x, w = torch.arange(6.0).reshape(3, 2), torch.tensor([1.0, 2.0])

    def call(x, w):
        return x * w, x @ w

    products, sums = module.map_tensors(call, (x, w), (0, None), 3, "error")
    torch.testing.assert_close(products, x * w)
    torch.testing.assert_close(sums, x @ w)
    (empty,) = module.map_tensors(lambda x: (x * 2,), (torch.empty(0, 2),), (0,), 0, "error")
    assert empty.shape == (0, 2)
