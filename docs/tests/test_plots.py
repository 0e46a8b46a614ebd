"""The page on performance shows the pictures of the newest run of the benchmarks."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture
def plots(tmp_path, monkeypatch):
    """The hook, looking into an empty folder."""
    spec = importlib.util.spec_from_file_location("plots", Path(__file__).parents[1] / "plots.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    return module


def shown(plots, markdown, source="concepts/performance.md"):
    return plots.on_page_markdown(markdown, SimpleNamespace(file=SimpleNamespace(src_uri=source)))


def test_a_page_without_the_marker_stays_as_it_is(plots):
    assert shown(plots, "text") == "text"


def test_without_pictures_the_page_says_so(plots):
    assert shown(plots, plots.MARKER) == plots.NONE


def test_the_pictures_of_the_newest_run_are_shown(plots, tmp_path):
    for name in (
        "20260101-000000-1-tree-map",
        "20260102-000000-1-tree-map",
        "20260102-000000-1-bridge-add",
    ):
        (tmp_path / f"{name}.png").touch()
    page = shown(plots, f"before\n\n{plots.MARKER}")
    assert page.count("![") == 2
    assert "(../assets/benchmarks/20260102-000000-1-bridge-add.png)" in page
    assert "20260101" not in page
