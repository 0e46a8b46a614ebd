"""The versions that are supported are said once: everything else agrees with `tools/versions.toml`."""

import json
import re
import subprocess
import sys

import pytest

import distributions
import matrix
import supported

ROOT = distributions.ROOT


@pytest.mark.parametrize("name", distributions.NAMES)
def test_metadata_of_the_packages(name):
    project = distributions.project(name)
    said = supported.versions()
    for library in ("torch", "jax"):
        demanded = [r for r in project["dependencies"] if re.match(rf"{library}\b", r)]
        assert demanded in ([], [supported.requirement(library)])
    series = [c.rpartition(" ")[2] for c in project["classifiers"] if "Python :: 3." in c]
    assert series == said["python"]
    assert project["requires-python"] == f">={said['python'][0]}"


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_the_range_is_from_the_lowest_to_the_newest_and_has_the_pinned_version(library):
    low, above = re.findall(r"\d+\.\d+", supported.requirement(library))
    pinned = distributions.pinned(f"PAX_{library.upper()}")
    lowest, newest = (supported.versions()[library][end] for end in supported.ENDS)
    assert series(low) == series(lowest)
    assert series(lowest) <= series(pinned) <= series(newest) < series(above)
    assert series(above)[1] == series(newest)[1] + 1


def series(version):
    return tuple(map(int, version.split(".")[:2]))


@pytest.mark.parametrize(("library", "name"), [("torch", "PyTorch"), ("jax", "JAX")])
def test_documentation(library, name):
    lowest, newest = (supported.versions()[library][end] for end in supported.ENDS)
    said = "{}.{} to {}.{}".format(*series(lowest), *series(newest))
    assert f"{name} {said}" in (ROOT / "docs" / "installation.md").read_text()


def test_the_workflow_reads_the_cells_and_builds_wheels_for_each_python():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "cell: ${{ fromJson(needs.changes.outputs.cells) }}" in workflow
    assert 'cells=$(python3 tools/matrix.py --list)"' in workflow
    pythons = supported.versions()["python"]
    assert f"python: {json.dumps(pythons)}" in workflow
    for name in ("pax-tree", "torch2jax-bridge"):
        text = (distributions.folder(name) / "pyproject.toml").read_text()
        assert re.findall(r'"cp(3)(\d+)-\*"', text) == [tuple(p.split(".")) for p in pythons]


def test_cells():
    cells = {cell.name: cell for cell in supported.cells()}
    assert len(cells) == len(supported.cells()) == 12 + len(supported.versions()["without-torch"])
    assert cells["3.11-lowest-newest"].torch == supported.versions()["torch"]["lowest"]
    assert cells["3.11-lowest-newest"].jax == supported.versions()["jax"]["newest-on"]["3.11"]
    assert cells["3.13-none-newest"].torch is None
    program = [sys.executable, str(ROOT / "tools" / "matrix.py")]
    listed = subprocess.run([*program, "--list"], capture_output=True, text=True, check=True)
    assert [cell["name"] for cell in json.loads(listed.stdout)] == list(cells)
    refused = subprocess.run([*program, "3.11"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "no cell is '3.11'; there are 3.13-none-newest, " in refused.stderr


def test_every_folder_of_tests_is_in_a_suite():
    folders = [f"packages/{name}" for name in distributions.NAMES]
    folders += [f"tests/{path.parent.name}" for path in ROOT.glob("tests/*/test_*.py")]
    assert set(folders) == set(matrix.SUITES)


@pytest.fixture
def report(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_passes(): pass\n"
        "def test_fails(): assert 0\n"
        "@pytest.mark.skip\ndef test_is_skipped(): pass\n"
        "@pytest.fixture\ndef broken(): raise ValueError\n"
        "def test_has_an_error(broken): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--junit-xml=report.xml"]
    subprocess.run([*command, "--rootdir=."], cwd=tmp_path, capture_output=True)
    return tmp_path / "report.xml"


def test_counts_of_a_suite(report):
    counts = matrix.counted(report)
    assert [counts[kind] for kind in matrix.COUNTS] == [1, 2, 1]
    assert counts["failures"] == ["test_it::test_fails", "test_it::test_has_an_error"]


def test_results_go_on_where_they_were_and_are_those_of_one_commit(tmp_path):
    cell = next(cell for cell in supported.cells() if cell.torch is None)
    results = matrix.Results(tmp_path / "new" / "matrix.json", "one")
    first, *others = matrix.suites(cell)
    counts = {"passed": 5, "failed": 1, "skipped": 2, "failures": ["it"], "seconds": 60}
    results.of(cell)["suites"][first] = counts
    results.write()
    again = matrix.Results(tmp_path / "new" / "matrix.json", "one")
    assert again.missing(cell) == others
    assert matrix.table([cell], again).split("\n")[1].split()[:7] == [
        *(cell.name, "-", cell.jax),
        *("5", "1", "2", "1.0"),
    ]
    assert matrix.table([cell], again).endswith(f"{cell.name} failed: it")
    assert matrix.Results(tmp_path / "new" / "matrix.json", "two").missing(cell) == [first, *others]


def test_a_suite_runs_once_for_the_versions_that_its_tests_import(tmp_path):
    results = matrix.Results(tmp_path / "matrix.json", "one")
    cells = {cell.name: cell for cell in supported.cells()}
    none, first = cells["3.13-none-newest"], cells["3.12-lowest-lowest"]
    counts = {"passed": 5, "failed": 0, "skipped": 2, "failures": [], "seconds": 60}
    for cell in (none, first):
        results.of(cell)["suites"] = dict.fromkeys(matrix.suites(cell), counts)

    def taken(name):
        results.take_over(cells[name])
        return set(results.of(cells[name])["suites"])

    jax = {"packages/pax-jax", "packages/opax"}
    assert taken("3.12-lowest-newest") == {"packages/pax-tree", "packages/pax-torch"}
    assert taken("3.12-newest-lowest") == {"packages/pax-tree", *jax}
    assert taken("3.12-newest-newest") == {"packages/pax-tree"}
    assert taken("3.11-lowest-lowest") == taken("3.13-lowest-newest") == set()
    assert "in part from 3.12-lowest-lowest" in matrix.table([cells["3.12-newest-lowest"]], results)
