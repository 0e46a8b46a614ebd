"""The reference has an entry for every public name."""

import importlib
import inspect
import re
import zlib
from types import ModuleType

import optax_names
import pytest

PACKAGES = ("pax_tree", "pax_torch", "pax_jax", "opax", "torch2jax_bridge")


@pytest.fixture(scope="session")
def entries(site):
    """What can be linked to: the places on the pages, and the inventory with its aliases."""
    pages = list(site.folder.glob("reference/**/index.html"))
    assert len(pages) > 5 * len(PACKAGES)
    texts = [page.read_text(encoding="utf-8") for page in pages]
    inventory = zlib.decompress((site.folder / "objects.inv").read_bytes().split(b"\n", 4)[4])
    named = {line.split(" ", 1)[0] for line in inventory.decode().splitlines()}
    return named.union(*(re.findall(r' id="([\w.]+)"', text) for text in texts))


def public_names(module):
    """The names that a package declares public, those of its own public submodules included."""
    for name in module.__all__:
        value = getattr(module, name)
        if not isinstance(value, ModuleType):
            yield f"{module.__name__}.{name}"
        elif value.__name__.startswith(f"{module.__name__}."):
            yield from public_names(value)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_an_entry(entries, package):
    names = list(public_names(importlib.import_module(package)))
    assert len(names) > 10
    assert [name for name in names if name not in entries] == []


@pytest.mark.parametrize("module", optax_names.MODULES)
def test_every_argument_of_an_optax_name_is_described(module):
    generated = importlib.import_module(module)._generated
    assert len(generated) > 10
    for name, function in generated.items():
        text = "\n".join(optax_names.described(name, function))
        for argument in inspect.signature(function).parameters:
            assert re.search(rf"^    {argument}: \S", text, flags=re.MULTILINE)
