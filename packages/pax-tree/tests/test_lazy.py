"""Names of a package that are imported when they are first read."""

import sys
import types

import pytest

from pax_tree._lazy import lazy


@pytest.fixture
def package(monkeypatch):
    made = types.ModuleType("lazy_one")
    inner = types.ModuleType("lazy_one._inner")
    inner.value = object()
    monkeypatch.setitem(sys.modules, "lazy_one", made)
    monkeypatch.setitem(sys.modules, "lazy_one._inner", inner)
    monkeypatch.setitem(sys.modules, "lazy_one.sub", types.ModuleType("lazy_one.sub"))
    made.__getattr__, made.__dir__ = lazy("lazy_one", {"value": "_inner", "sub": "sub"})
    return made


def test_a_name_is_imported_once_and_kept(package):
    assert {"value", "sub"} <= set(dir(package))
    assert not {"value", "sub"} & set(vars(package))
    assert package.value is sys.modules["lazy_one._inner"].value is vars(package)["value"]
    assert package.sub is sys.modules["lazy_one.sub"] is vars(package)["sub"]


def test_another_name_is_the_usual_error_or_that_of_the_package(package):
    with pytest.raises(AttributeError, match="module 'lazy_one' has no attribute 'other'"):
        _ = package.other
    package.__getattr__, _ = lazy("lazy_one", {}, lambda name: AttributeError(f"gone: {name}"))
    with pytest.raises(AttributeError, match="gone: other"):
        _ = package.other
