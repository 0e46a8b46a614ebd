"""`python -m benchmarks.check [FILE]`: compare a run with the goals.

The exit status is 1 when a row falls short of its goal, or when a suite was run but a row or a peer
that a goal names is missing from it. Suites that were not run are named and fail nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.errors import BenchmarkError, Parser, run_as_command
from benchmarks.results import key, load
from benchmarks.run import OUT

GOALS = Path(__file__).parent / "goals.toml"


@dataclass(frozen=True)
class Goal:
    """Ours over `peer` is at most `at_most` in a row."""

    suite: str
    case: str
    metric: str
    peer: str
    at_most: float

    def __str__(self) -> str:
        metric = "" if self.metric == "time" else f": {self.metric}"
        return f"{self.suite}/{self.case}{metric}, to {self.peer}"


def main(arguments: list[str]) -> int:
    """Print a verdict on every goal; 0 when none falls short."""
    parser = Parser(prog="bench:check", description="Compare a run with the goals.")
    parser.add_argument("file", nargs="?", type=Path, help="a run's JSON file; else the last run's")
    file = parser.parse_args(arguments).file or last_run(OUT)
    run = load(file)
    console = Console()
    console.print(f"{file}{', quick' if run['quick'] else ''}", markup=False, soft_wrap=True)
    wanted = [goal for goal in goals(GOALS) if goal.suite in run["suites"]]
    short = [verdict for goal in wanted if (verdict := shortfall(goal, run))]
    for verdict in short:
        console.print(verdict, markup=False, highlight=False, soft_wrap=True)
    for suite in sorted({goal.suite for goal in goals(GOALS)} - set(run["suites"])):
        console.print(f"not run: {suite}", markup=False)
    console.print(f"{len(wanted) - len(short)} of {len(wanted)} goals met")
    return 1 if short else 0


def last_run(folder: Path) -> Path:
    files = sorted(folder.glob("*.json"))
    if not files:
        raise BenchmarkError(f"there is no run in {folder}; start one with bench:run")
    return files[-1]


def goals(path: Path) -> Iterator[Goal]:
    """The goals of a file: a table for each suite, in it `case = {peer = ratio}`.

    "case: metric" names a row that is not a time.
    """
    with path.open("rb") as file:
        suites = tomllib.load(file)
    for suite, cases in suites.items():
        for name, ratios in cases.items():
            case, _, metric = name.partition(": ")
            for peer, at_most in ratios.items():
                yield Goal(suite, case, metric or "time", peer, at_most)


def shortfall(goal: Goal, run: dict[str, Any]) -> str | None:
    """What is wrong with a goal's row, or None."""
    row = next(
        (row for row in run["rows"] if key(row) == (goal.suite, goal.case, goal.metric)), None
    )
    if row is None:
        return f"missing row: {goal}"
    reached = row["ratios"].get(goal.peer)
    if reached is None:
        return f"missing peer: {goal}"
    if reached > goal.at_most:
        return f"short: {goal}: {reached:.2f}, the goal is at most {goal.at_most:g}"
    return None


if __name__ == "__main__":
    run_as_command(main, "bench:check")
