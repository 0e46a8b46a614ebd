"""The names in the tables of docs/migration exist."""

import importlib
import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "migration").glob("*.md"))
OURS = ("pax_tree", "pax_torch", "pax_jax", "opax", "torch2jax_bridge")


def rows():
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            cells = line.strip("|").split("|")
            if line.startswith("| `") and page.stem != "index" and len(cells) == 3:
                yield page.stem, *(cell.strip() for cell in cells[:2])


def names(cell):
    return re.findall(r"`([A-Za-z_][\w.]*)`", cell)


def found(dotted):
    module, *parts = dotted.split(".")
    value = importlib.import_module(module)
    for part in parts:
        value = getattr(value, part)
    return value


@pytest.mark.parametrize(("page", "old", "new"), list(rows()))
def test_each_new_name_exists(page, old, new):
    assert names(old) or "`" in old
    assert new == "nothing" or names(new)
    for name in names(new):
        assert name.split(".")[0] in OURS
        assert found(name) is not None


# Libraries that are in this environment, by the first part of a name.
INSTALLED = {"torch", "flax", "equinox"}


@pytest.mark.parametrize(
    "name",
    sorted(
        {name for _, old, _ in rows() for name in names(old) if name.split(".")[0] in INSTALLED}
    ),
)
def test_each_old_name_exists(name):
    for module in ("torch.utils.checkpoint", "flax.training.train_state", "flax.nnx"):
        importlib.import_module(module)
    assert found(name) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_page_has_a_program_before_and_after_its_names_and_what_trips(page):
    text = page.read_text(encoding="utf-8")
    if page.stem == "index":
        assert all(f"]({other.name})" in text for other in PAGES if other != page)
        return
    assert "\n## Before\n" in text
    assert re.search(r"\n## After\n(?:(?!\n## ).)*```python", text, flags=re.DOTALL)
    assert re.search(r"\n## (What trips|What is gone)\n", text)
    assert any(section == page.stem for section, _, _ in rows())
