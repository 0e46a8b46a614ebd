"""The names in the tables of docs/howto/migrate.md exist."""

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "migrate.md"
OURS = ("pax_tree", "pax_torch", "pax_jax", "opax", "torch2jax_bridge")
SECTIONS = ("paxlib", "pax3", "torch2jax", "functorch and torch.func", "TorchOpt", "Haiku")


def rows():
    section = None
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("| ") and line.split("|")[2].strip() not in {"here", "---"}:
            yield section, *(cell.strip() for cell in line.strip("|").split("|")[:2])


def names(cell):
    return re.findall(r"`([A-Za-z_][\w.]*)`", cell)


def found(dotted):
    module, *parts = dotted.split(".")
    value = importlib.import_module(module)
    for part in parts:
        value = getattr(value, part)
    return value


@pytest.mark.parametrize(("section", "old", "new"), list(rows()))
def test_each_new_name_exists(section, old, new):
    assert names(old) or "`" in old
    assert new == "nothing" or names(new)
    for name in names(new):
        assert name.split(".")[0] in OURS
        assert found(name) is not None


@pytest.mark.parametrize(
    "name",
    [
        name
        for section, old, _ in rows()
        if section == "functorch and torch.func"
        for name in names(old)
        if name.startswith("torch.")
    ],
)
def test_each_old_name_of_torch_exists(name):
    importlib.import_module("torch.utils.checkpoint")
    assert found(name) is not None


def test_each_library_has_a_table():
    assert {section for section, _, _ in rows()} == set(SECTIONS)
