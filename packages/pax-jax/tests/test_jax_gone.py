"""Names of older releases of Pax: an error that says what takes their place."""

import re

import pytest

import pax_jax as pax
from pax_jax._gone import _PLACES


@pytest.mark.parametrize("name", list(_PLACES))
def test_a_name_that_is_gone_says_what_takes_its_place(name):
    with pytest.raises(AttributeError, match=rf"pax_jax has no '{name}'.*older.*`") as caught:
        getattr(pax, name)
    for place in re.findall(r"`pax_jax\.([\w.]+)`", str(caught.value)):
        value = pax
        for part in place.split("."):
            value = getattr(value, part)


def test_any_other_name_is_an_error_as_of_every_module():
    with pytest.raises(AttributeError, match=r"^module 'pax_jax' has no attribute 'Linaer'"):
        _ = pax.Linaer
    assert not hasattr(pax, "util")
    assert pax.utils.build_update_fn is pax.build_update_fn
    with pytest.raises(ImportError, match="cannot import name 'EmptyNode'"):
        from pax_jax import EmptyNode  # noqa: F401
