"""Run all tests in the cells of `versions.toml`, each in an environment of its own outside the checkout.

    ./tools/hatch run matrix [cell ...]

A cell is a clone of what is committed and an environment with its versions, both in one temporary
folder that is deleted afterwards. What has run is kept in a JSON file as soon as a suite is over; the
next run of the same commit goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import distributions
import supported
from supported import Cell

COUNTS = ("passed", "failed", "skipped")
# The suites in the order in which they run: cheap ones first, so that faults show early.
SUITES = (
    "packages/pax-tree",
    "packages/pax-torch",
    "tests/torch",
    "packages/torch2jax-bridge",
    "tests/bridge",
    "tests/tree",
    "packages/pax-jax",
    "packages/opax",
    "tests/jax",
    "tests/opax",
    "tests/types",
    "tests/repository",
)
# The libraries that the tests of a package import, where these are not both: a layering test holds it. Such a
# suite is run in the first cell alone that has these versions of them.
IMPORTED = {
    "packages/pax-tree": (),
    "packages/pax-torch": ("torch",),
    "packages/pax-jax": ("jax",),
    "packages/opax": ("jax",),
}
# The packages that need no PyTorch, with their own tests alone: the others compare with PyTorch.
WITHOUT_TORCH = ("pax-tree", "pax-jax", "opax")
LIMIT = 2 * 60 * 60
QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "1"}


def main(arguments: list[str]) -> int:
    """Run the cells that are named, or all, and print the table; fail where a test failed."""
    known = {cell.name: cell for cell in supported.cells()}
    options = parser(known).parse_args(arguments)
    if options.list:
        print(json.dumps([asdict(cell) for cell in known.values()]))
        return 0
    chosen = options.cells or list(known.values())
    results = Results(options.out, commit())
    if not options.table:
        for cell in chosen:
            run_cell(cell, results, options)
    print(table(chosen, results))
    whole = all(results.is_whole(cell) for cell in chosen)
    return 0 if whole and not any(map(results.failures, chosen)) else 1


def parser(known: dict[str, Cell]) -> argparse.ArgumentParser:
    """Return what reads the command line."""

    def cell(name: str) -> Cell:
        if name not in known:
            raise argparse.ArgumentTypeError(f"no cell is {name!r}; there are {', '.join(known)}")
        return known[name]

    made = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    made.add_argument("cells", nargs="*", type=cell, metavar="cell", help=", ".join(known))
    made.add_argument("--suite", action="append", choices=SUITES, help="only these suites")
    made.add_argument("--list", action="store_true", help="print the cells as JSON")
    made.add_argument("--table", action="store_true", help="print what has run, and run nothing")
    made.add_argument("--again", action="store_true", help="forget what has run in these cells")
    made.add_argument("--numprocesses", default="auto", help="of pytest")
    default = distributions.ROOT / "out" / "matrix.json"
    made.add_argument("--out", type=Path, default=default, help="the results, as JSON")
    return made


def commit() -> str:
    """Return the commit that is tested, after a word on changes that are not."""
    git = ["git", "-C", str(distributions.ROOT)]
    if subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True).stdout:
        print("matrix: the cells test what is committed; there are changes that are not.")
    found = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


class Results:
    """What has run for one commit, in a JSON file."""

    def __init__(self, file: Path, commit: str) -> None:
        self._file, self.commit = file, commit
        read = json.loads(file.read_text()) if file.is_file() else {}
        self._cells: dict[str, dict] = read.get("cells", {}) if read.get("commit") == commit else {}

    def forget(self, cell: Cell) -> None:
        self._cells.pop(cell.name, None)

    def of(self, cell: Cell) -> dict:
        """Return the record of a cell."""
        return self._cells.setdefault(cell.name, {**asdict(cell), "installed": {}, "suites": {}})

    def missing(self, cell: Cell) -> list[str]:
        return [suite for suite in suites(cell) if suite not in self.of(cell)["suites"]]

    def is_whole(self, cell: Cell) -> bool:
        return not self.missing(cell)

    def failures(self, cell: Cell) -> int:
        return self.count(cell, "failed")

    def count(self, cell: Cell, kind: str) -> int:
        return sum(suite[kind] for suite in self.of(cell)["suites"].values())

    def take_over(self, cell: Cell) -> None:
        """Copy the counts of suites that ran, in another cell, with the versions that their tests import."""
        for suite in self.missing(cell):
            for name, other in self._cells.items():
                found = other["suites"].get(suite)
                if (
                    found
                    and "same as" not in found
                    and facts(suite, other) == facts(suite, asdict(cell))
                ):
                    self.of(cell)["suites"][suite] = {**found, "seconds": 0, "same as": name}
                    break

    def write(self) -> None:
        """Write the file; one that is interrupted leaves the one before."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps({"commit": self.commit, "cells": self._cells}, indent=2) + "\n")
        new.replace(self._file)


def suites(cell: Cell) -> list[str]:
    """Return the folders whose tests a cell runs."""
    if cell.torch is not None:
        return list(SUITES)
    return [f"packages/{name}" for name in WITHOUT_TORCH]


def facts(suite: str, cell: dict) -> tuple:
    """Return what the result of a suite depends on; without PyTorch, its optional parts are absent too."""
    versions = [cell[library] for library in IMPORTED.get(suite, ("torch", "jax"))]
    return (cell["python"], cell["torch"] is None, *versions)


def run_cell(cell: Cell, results: Results, options: argparse.Namespace) -> None:
    """Make the environment of a cell, run what has not run yet, and delete the environment."""
    if options.again:
        results.forget(cell)
    results.take_over(cell)
    wanted = [x for x in results.missing(cell) if not options.suite or x in options.suite]
    results.write()
    if not wanted:
        return
    with tempfile.TemporaryDirectory(prefix=f"pax-matrix-{cell.name}-") as scratch:
        folder = Path(scratch)
        clone = folder / "checkout"
        step("cloning", ["git", "clone", "--quiet", str(distributions.ROOT), str(clone)])
        step("checking out", ["git", "-C", str(clone), "checkout", "--quiet", results.commit])
        python = environment(cell, folder, clone)
        results.of(cell)["installed"] = installed(python)
        for suite in wanted:
            print(f"matrix: {cell.name}: {suite}", flush=True)
            results.of(cell)["suites"][suite] = run_suite(suite, python, clone, options)
            results.write()


def environment(cell: Cell, folder: Path, clone: Path) -> str:
    """Return the interpreter of a new environment with the versions of the cell and the packages."""
    step(f"making {cell.name}", [interpreter(cell.python), "-m", "venv", str(folder / "env")])
    python = str(folder / "env" / "bin" / "python")
    names = WITHOUT_TORCH if cell.torch is None else distributions.NAMES
    editable = [part for name in names for part in ("-e", str(clone / "packages" / name))]
    libraries = requirements(cell, clone)
    step(f"installing {cell.name}", [python, "-m", "pip", "install", *libraries, *editable])
    return python


def requirements(cell: Cell, root: Path) -> list[str]:
    """Return what `hatch.toml` asks for, with the versions of the cell."""
    environments = tomllib.loads((root / "hatch.toml").read_text())["envs"]
    name = "opax" if cell.torch is None else "default"
    pins = {"PAX_TORCH": cell.torch or "", "PAX_JAX": cell.jax}
    return [
        re.sub(r"{env:(\w+):[^}]*}", lambda found: pins[found[1]], dependency)
        for dependency in [*environments[name]["dependencies"], "numpy", "pytest-xdist"]
    ]


def interpreter(version: str) -> str:
    """Return a Python of a version: this one, one on the path, or one of pyenv's."""
    roots = [os.environ.get("PYENV_ROOT"), Path.home() / ".pyenv"]
    pyenv = [
        x for root in roots if root for x in Path(root).glob(f"versions/{version}.*/bin/python")
    ]
    candidates = [sys._base_executable, shutil.which(f"python{version}"), *sorted(map(str, pyenv))]
    code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    for candidate in filter(None, candidates):
        found = subprocess.run([candidate, "-c", code], capture_output=True, text=True)
        if found.stdout.strip() == version:
            return candidate
    sys.exit(f"matrix: no Python {version} was found on the path or under pyenv; install it.")


def installed(python: str) -> dict[str, str]:
    """Return the versions that an environment has."""
    command = [python, "-m", "pip", "list", "--format", "json"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return {package["name"]: package["version"] for package in json.loads(found.stdout)}


def step(what: str, command: list[str]) -> None:
    """Run a command; end the program with a sentence where it fails."""
    status = subprocess.run(command, env=variables(), check=False).returncode
    if status:
        sys.exit(f"matrix: {what} failed with exit status {status}; its output is above.")


def variables() -> dict[str, str]:
    """Return the environment variables without those that would bring other packages along."""
    hidden = {"PYTHONPATH", "PYTHONHOME", "PIP_CONSTRAINT", "PAX_TORCH", "PAX_JAX", "VIRTUAL_ENV"}
    return {name: value for name, value in os.environ.items() if name not in hidden} | QUIET


def run_suite(suite: str, python: str, clone: Path, options: argparse.Namespace) -> dict:
    """Return how many tests of a folder passed, failed and were skipped, and which failed."""
    report = clone.parent / "report.xml"
    report.unlink(missing_ok=True)
    command = [python, "-m", "pytest", suite, "-q", f"--numprocesses={options.numprocesses}"]
    before = time.monotonic()
    try:
        command.append(f"--junit-xml={report}")
        status = subprocess.run(command, cwd=clone, env=variables(), timeout=LIMIT).returncode
    except subprocess.TimeoutExpired:
        status = f"no end within {LIMIT} s"
    counts = counted(report) if report.is_file() else {**dict.fromkeys(COUNTS, 0), "failures": []}
    if status not in (0, 1) or (status == 1 and not counts["failed"]):
        counts["failed"] += 1
        counts["failures"].append(f"{suite}: pytest ended with {status}")
    return {**counts, "seconds": round(time.monotonic() - before)}


def counted(report: Path) -> dict:
    """Return the counts of pytest's XML report, and the names of the tests that failed."""
    counts: dict = {**dict.fromkeys(COUNTS, 0), "failures": []}
    for case in ElementTree.parse(report).iter("testcase"):
        found = {child.tag for child in case}
        kind = "failed" if found & {"failure", "error"} else "passed"
        kind = "skipped" if kind == "passed" and "skipped" in found else kind
        counts[kind] += 1
        if kind == "failed":
            counts["failures"].append(f"{case.get('classname')}::{case.get('name')}")
    return counts


def table(chosen: list[Cell], results: Results) -> str:
    """Return the counts of each cell, and then what failed."""
    return "\n".join([*rows(chosen, results), *failures(chosen, results)])


def rows(chosen: list[Cell], results: Results) -> Iterator[str]:
    yield f"{'cell':22} {'torch':>8} {'jax':>9} {'passed':>7} {'failed':>7} {'skipped':>8}  minutes"
    for cell in chosen:
        counts = [results.count(cell, kind) for kind in COUNTS]
        minutes = results.count(cell, "seconds") / 60
        missing = results.missing(cell)
        taken = sorted(
            {
                suite["same as"]
                for suite in results.of(cell)["suites"].values()
                if "same as" in suite
            }
        )
        note = f"  in part from {', '.join(taken)}" if taken else ""
        note += f"  not run: {', '.join(missing)}" if missing else ""
        line = f"{cell.name:22} {cell.torch or '-':>8} {cell.jax:>9}"
        yield f"{line} {counts[0]:7} {counts[1]:7} {counts[2]:8} {minutes:8.1f}{note}"


def failures(chosen: list[Cell], results: Results) -> Iterator[str]:
    for cell in chosen:
        for suite in results.of(cell)["suites"].values():
            yield from (f"{cell.name} failed: {name}" for name in suite["failures"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
