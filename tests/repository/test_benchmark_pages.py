"""The pages show the newest run of the benchmarks that lies in docs/assets/benchmarks, and nothing else."""

import importlib.util
import json
import re

import pytest

import distributions

DOCS = distributions.ROOT / "docs"


@pytest.fixture
def hook():
    path = DOCS / "hooks" / "benchmarks.py"
    spec = importlib.util.spec_from_file_location("benchmark_pages", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(case, ours, peers, suite="tree", limit=None):
    ratios = {name: ours / value for name, value in peers.items()} | {
        "best peer": ours / min(peers.values())
    }
    return {
        "suite": suite, "case": case, "metric": "time", "unit": "us", "ours": {"median": ours},
        "peers": {name: {"median": value} for name, value in peers.items()},
        "limit": limit and {"name": limit[0], "median": limit[1]},
        "ratios": ratios | ({limit[0]: ours / limit[1]} if limit else {}),
    }  # fmt: skip


@pytest.fixture
def made(hook, tmp_path, monkeypatch):
    """The hook in a folder with two runs, the newer one of these rows."""
    rows = [
        row("map1-gpt2", 2.0, {"jax": 8.0, "optree": 1.0}),
        row("step", 3.0, {"nnx.jit": 6.0}, suite="modules"),
        row(
            "resnet18-step",
            11.0,
            {"buffer_callback": 22.0},
            suite="bridge",
            limit=("eager torch", 10.0),
        ),
        *(
            row(f"scale_flatten-{name}", n, {"jax": 5.0 * n})
            for name, n in (("4", 4), ("40", 40), ("4k", 4000))
        ),
    ]
    run = {
        "started": "2026-01-02T00:00:00+00:00", "quick": True, "device": "cpu", "rows": rows,
        "machine": {"processor": "one of Babbage's", "cores": 1},
        "versions": {"python": "3.11", "pax-tree": "1.2.3", "optree": "0.1"},
    }  # fmt: skip
    (tmp_path / "20260102-000000.json").write_text(json.dumps(run))
    (tmp_path / "20260101-000000.json").write_text(json.dumps({**run, "rows": []}))
    monkeypatch.setattr(hook, "FOLDER", tmp_path)
    return hook


def shown(hook, what):
    return hook.on_page_markdown(f"before\n<!-- benchmarks: {what} -->\nafter", page=None)


def test_other_pages_stay_as_they_are(made):
    assert made.on_page_markdown("text <!-- a comment -->", page=None) == "text <!-- a comment -->"


def test_without_a_run_the_page_says_so(hook, tmp_path, monkeypatch):
    monkeypatch.setattr(hook, "FOLDER", tmp_path)
    assert shown(hook, "numbers") == f"before\n{hook.NONE}\nafter"


def test_numbers_are_those_of_the_newest_run(made):
    assert re.findall(r"\*\*(.*?)\*\*", shown(made, "numbers")) == [
        "4.0&times;",
        "2.0&times;",
        "1.10",
    ]


def test_where_and_when_it_was_measured(made):
    text = shown(made, "run")
    assert "2 January 2026, one of Babbage's, 1 cores, cpu, short rounds" in text
    assert "python 3.11, optree 0.1; ours 1.2.3." in text


def test_losses_are_to_everybody_the_worst_first(made):
    lines = shown(made, "losses").splitlines()[3:-1]
    assert lines == [
        "| tree: map1-gpt2 | optree | **2.00** |",
        "| bridge: resnet18-step | eager torch | **1.10** |",
    ]


def test_tables_have_a_column_for_each_peer(made):
    lines = shown(made, "table bridge").splitlines()[1:-1]
    assert lines[0] == "| case | ours | buffer_callback | eager torch |"
    assert lines[2] == "| resnet18-step | 11 µs | 0.50 | 1.10 |"
    assert "did not measure" in shown(made, "table nets")


def test_plots_have_a_line_for_each_program(made):
    page = shown(made, "plots")
    assert page.count("<svg") == 1
    assert page.count("<polyline") == page.count('<li class="line-') == 2
    assert ">4k<" not in page
    assert ">1k<" in page


def test_the_last_run_has_what_the_pages_ask_for(hook):
    pages = [DOCS / "index.md", DOCS / "concepts" / "performance.md"]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert hook.MARKER.search(text)
        made = hook.on_page_markdown(text, page=None)
        assert "<!-- benchmarks" not in made
        assert hook.NONE not in made
        assert "did not measure" not in made
    assert hook.on_page_markdown(pages[0].read_text(), page=None).count("<li markdown>") == 3
