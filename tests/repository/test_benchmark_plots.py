"""Which cases the benchmark runner plots, and what its pictures hold."""

import io
import sys
from functools import partial

import pytest
from rich.console import Console

from benchmarks import plots, run
from benchmarks.case import Case
from benchmarks.errors import BenchmarkError
from benchmarks.results import row


def rows(*names, limit="floor"):
    for factor, name in enumerate(names, start=1):
        case = Case(
            suite="trivial",
            case=name,
            ours=partial(sum, [1]),
            peers={"a": print},
            limit=(limit, print) if limit else None,
        )
        yield row(case, "time", {k: [factor * 1.0] * 3 for k in ("ours", "a", limit or "a")})


def test_series_are_cases_at_three_sizes_or_more_in_order():
    names = ["map-1e3", "map-10", "map-2k", "flat-1", "flat-2", "one", "map-small"]
    found = plots.series(rows(*names))
    assert list(found) == ["trivial/map"]
    assert [size for size, _ in found["trivial/map"]] == [10, 1000, 2000]


def test_figure_has_a_line_for_everyone():
    (points,) = plots.series(rows("map-1", "map-10", "map-100")).values()
    (axes,) = plots.figure("trivial/map", points).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    line = [[1, 1], [10, 2], [100, 3]]
    assert drawn == {"ours": line, "a": line, "floor": line}
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_ylabel() == "time in us"


def test_files_are_pictures(tmp_path):
    measured = rows("map-1", "map-10", "map-100", limit=None)
    (file,) = plots.draw(measured, tmp_path, "run")
    assert file == tmp_path / "run-trivial-map.png"
    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    measured = rows("map-1", "map-10", "map-100")
    with pytest.raises(BenchmarkError, match=r"cannot write .*run-trivial-map\.png"):
        plots.draw(measured, tmp_path / "missing", "run")


def test_without_matplotlib_there_are_no_plots(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "benchmarks.plots", None)
    monkeypatch.delattr("benchmarks.plots")
    console = Console(record=True, file=io.StringIO())
    run.plot(list(rows("map-1", "map-10", "map-100")), tmp_path / "run.json", console)
    assert "no plots: benchmarks.plots is not installed" in console.export_text()
    assert list(tmp_path.iterdir()) == []
