"""pax_torch and the bridge, which may not import each other, make `vmap` of the same few lines."""

import inspect

import pytest

from pax_torch import _compat as ours
from torch2jax_bridge import _compat as theirs


@pytest.mark.parametrize("name", ["map_tensors", "_load_vmap_rules"])
def test_the_text_is_the_same(name):
    assert inspect.getsource(getattr(ours, name)) == inspect.getsource(getattr(theirs, name))
