"""The benchmark runner's structure, order and messages; never a time."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks import check, compare, run
from benchmarks.case import Case
from benchmarks.errors import BenchmarkError
from benchmarks.measure import Effort, interleaved
from benchmarks.results import load, row, save

ROOT = Path(__file__).parents[2]
BRIEF = Effort(block=0.0, budget=0.0, rounds=(4, 9), warm_up=0.0)


def trivial(**changes):
    case = {"suite": "trivial", "case": "sum", "ours": partial(sum, [1, 2])}
    return Case(**case | {"peers": {"max": partial(max, 1, 2)}} | changes)


def command(module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


# Measuring


def test_each_round_times_every_program_once_in_changing_order():
    calls = []
    programs = {name: partial(calls.append, name) for name in ("ours", "a", "b", "floor")}
    case = trivial(
        ours=programs["ours"],
        peers={"a": programs["a"], "b": programs["b"]},
        limit=("floor", programs["floor"]),
    )
    samples = interleaved(case, BRIEF)
    rounds = [calls[-16:][start : start + 4] for start in range(0, 16, 4)]
    assert all(sorted(names) == ["a", "b", "floor", "ours"] for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1
    assert {name: len(taken) for name, taken in samples.items()} == dict.fromkeys(programs, 4)


def test_self_measured_programs_report_their_own_metric():
    case = trivial(
        ours=lambda: 3.0, peers={"a": lambda: 6}, metric="memory", unit="MiB", self_measured=True
    )
    samples = interleaved(case, BRIEF)
    assert samples == {"ours": [{"memory": 3.0}] * 4, "a": [{"memory": 6.0}] * 4}


def test_every_result_is_waited_for():
    waited = []
    interleaved(trivial(peers={}, finish=waited.append), BRIEF)
    assert set(waited) == {3}
    assert len(waited) >= 4


def test_programs_that_disagree_are_not_compared():
    case = trivial(agree=lambda ours, theirs: ours == theirs)
    with pytest.raises(BenchmarkError, match="trivial/sum: max gives another result than ours"):
        interleaved(case, BRIEF)


# Rows


def test_row_holds_medians_spreads_and_paired_ratios():
    case = trivial(peers={"a": print, "b": print}, limit=("floor", print))
    values = {
        "ours": [1.0, 2.0, 30.0],
        "a": [4.0, 8.0, 120.0],
        "b": [2.0, 4.0, 60.0],
        "floor": [1.0, 2.0, 15.0],
    }
    assert row(case, "time", values) == {
        "suite": "trivial",
        "case": "sum",
        "metric": "time",
        "unit": "us",
        "ours": {"median": 2.0, "iqr": 14.5, "samples": 3},
        "peers": {
            "a": {"median": 8.0, "iqr": 58.0, "samples": 3},
            "b": {"median": 4.0, "iqr": 29.0, "samples": 3},
        },
        "limit": {"name": "floor", "median": 2.0, "iqr": 7.0, "samples": 3},
        "ratios": {"a": 0.25, "b": 0.5, "floor": 1.0, "best peer": 0.5},
    }


# benchmarks.run


@pytest.fixture
def suites(monkeypatch):
    """Replaces the suites by ones that a test fills in."""
    found = {}
    monkeypatch.setattr(run, "names", lambda: list(found))
    monkeypatch.setattr(run, "suite", lambda name: found[name])
    return found


def saved_run(folder):
    (file,) = folder.iterdir()
    return json.loads(file.read_text())


def test_run_writes_one_json_file_and_a_table(suites, tmp_path, capsys):
    suites["trivial"] = lambda device: iter([trivial(), trivial(case="none", peers={})])
    assert run.main(["trivial", "--quick", "--out", str(tmp_path / "new" / "folder")]) == 0
    result = saved_run(tmp_path / "new" / "folder")
    assert set(result) == {
        *("schema", "started", "quick", "device", "suites", "machine", "versions"),
        *("rows", "failures"),
    }
    assert (result["quick"], result["device"], result["suites"]) == (True, "cpu", ["trivial"])
    assert {"platform", "processor", "cores", "gpu"} <= set(result["machine"])
    assert {"python", "pax-tree", "jax", "torch"} <= set(result["versions"])
    assert [(row["case"], row["limit"]) for row in result["rows"]] == [
        ("sum", None),
        ("none", None),
    ]
    assert result["failures"] == []
    shown = capsys.readouterr().out
    assert "trivial/sum" in shown
    assert "to best peer" in shown


def test_a_case_that_fails_is_named_and_ends_no_other(suites, tmp_path, capsys):
    def broken(device):
        yield trivial(case="zero", ours=partial(divmod, 1, 0))
        yield trivial()
        raise ValueError("no more")

    suites.update(broken=broken, trivial=lambda device: iter([trivial()]))
    assert run.main(["--quick", "--out", str(tmp_path)]) == 1
    result = saved_run(tmp_path)
    assert len(result["rows"]) == 2
    assert [failure["case"] for failure in result["failures"]] == ["zero", "building its next case"]
    assert "failed: trivial/zero: ZeroDivisionError" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "message"),
    [
        pytest.param(
            ModuleNotFoundError("No module named 'optree'", name="optree"),
            "suite 'tree' needs optree, which is not installed; start",
            id="not-installed",
        ),
        pytest.param(
            ImportError("cannot import name 'x'"),
            "suite 'tree' cannot be imported: cannot import name 'x'",
            id="too-old",
        ),
    ],
)
def test_a_suite_whose_peer_is_missing_names_it(monkeypatch, error, message):
    def import_module(name):
        raise error

    monkeypatch.setattr(run.importlib, "import_module", import_module)
    with pytest.raises(BenchmarkError, match=message):
        run.suite("tree")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["nonsense"], "there is no suite 'nonsense'; the suites are ", id="suite"),
        pytest.param(["--device", "tpu"], "invalid choice: 'tpu'", id="device"),
        pytest.param(["--out", "/dev/null/x"], "cannot write to /dev/null/x: Not a dir", id="out"),
        pytest.param(["--fast"], "unrecognized arguments: --fast", id="option"),
    ],
)
def test_run_refuses_in_one_line(arguments, message):
    done = command("run", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.startswith("bench:run: ")
    assert done.stderr.count("\n") == 1


def test_run_on_cuda_without_a_device_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BenchmarkError, match="torch finds no CUDA device"):
        run.main(["--device", "cuda"])


# benchmarks.check


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A saved run of one row whose ratio to its one peer is 0.5."""
    monkeypatch.setattr(check, "GOALS", tmp_path / "goals.toml")
    values = {"ours": [1.0, 1.0], "max": [2.0, 2.0]}
    rows = [row(trivial(), metric, values) for metric in ("time", "memory")]
    common = {"quick": False, "device": "cpu", "machine": {"cores": 2}, "versions": {"jax": "1"}}
    file = tmp_path / "a.json"
    save({"schema": 1, "suites": ["trivial"], "rows": rows, **common}, file)
    return file


@pytest.mark.parametrize(
    ("goals", "status", "message"),
    [
        pytest.param('sum = {"best peer" = 0.5}', 0, "1 of 1 goals met", id="met"),
        pytest.param(
            "sum = {max = 0.4}",
            1,
            "short: trivial/sum, to max: 0.50, the goal is at most 0.4",
            id="short",
        ),
        pytest.param(
            '"sum: memory" = {max = 0.4}', 1, "short: trivial/sum: memory, to max", id="metric"
        ),
        pytest.param("sum = {min = 1}", 1, "missing peer: trivial/sum, to min", id="missing-peer"),
        pytest.param("add = {max = 1}", 1, "missing row: trivial/add, to max", id="missing-row"),
        pytest.param("[other]\nadd = {max = 1}", 0, "not run: other", id="suite-not-run"),
    ],
)
def test_check_gives_a_verdict_on_each_goal(measured, capsys, goals, status, message):
    check.GOALS.write_text(f"[trivial]\n{goals}\n")
    assert check.main([str(measured)]) == status
    assert message in capsys.readouterr().out


def test_check_takes_the_last_run(tmp_path):
    with pytest.raises(BenchmarkError, match="there is no run in"):
        check.last_run(tmp_path)
    for name in ("20260101-000000.json", "20260102-000000.json"):
        (tmp_path / name).touch()
    assert check.last_run(tmp_path).name == "20260102-000000.json"


def test_the_goals_are_ratios_in_suites_that_exist():
    found = list(check.goals(check.GOALS))
    assert found
    assert {goal.suite for goal in found} <= set(run.names())
    assert all(0 < goal.at_most < 3 for goal in found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "cannot read .*No such file", id="absent"),
        pytest.param("{", "is not JSON", id="cut-short"),
        pytest.param("[]", "was not written by this version", id="something-else"),
    ],
)
def test_a_file_that_holds_no_run_is_refused(tmp_path, content, message):
    file = tmp_path / "run.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(BenchmarkError, match=message):
        load(file)


# benchmarks.compare


def test_compare_shows_what_changed(measured, tmp_path, capsys):
    other = load(measured)
    other["versions"]["jax"] = "2"
    other["rows"][0]["ratios"]["best peer"] = 0.25
    other["rows"][1]["case"] = "renamed"
    save(other, tmp_path / "b.json")
    assert compare.main([str(measured), str(tmp_path / "b.json")]) == 0
    shown = capsys.readouterr().out
    assert "versions, jax: 1 -> 2" in shown
    assert "only in A: trivial/sum: memory" in shown
    assert "only in B: trivial/renamed: memory" in shown
    assert "-50%" in shown
