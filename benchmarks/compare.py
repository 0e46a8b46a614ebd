"""`python -m benchmarks.compare A.json B.json`: what changed from one run to another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.errors import Parser, run_as_command
from benchmarks.report import label, value
from benchmarks.results import BEST_PEER, Row, key, load


def main(arguments: list[str]) -> int:
    """Print the rows of both runs side by side, and what only one of them has."""
    parser = Parser(prog="bench:compare", description="Show what changed between two runs.")
    parser.add_argument("before", type=Path, metavar="A.json")
    parser.add_argument("after", type=Path, metavar="B.json")
    options = parser.parse_args(arguments)
    before, after = load(options.before), load(options.after)
    console = Console()
    for difference in differences(before, after):
        console.print(difference, markup=False, highlight=False, soft_wrap=True)
    console.print(table(by_key(before), by_key(after)))
    return 0


def by_key(run: dict[str, Any]) -> dict[tuple[str, str, str], Row]:
    return {key(row): row for row in run["rows"]}


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What else is not the same in the two runs: machine, versions, effort and rows."""
    found = [
        f"{part}: {before[part]} -> {after[part]}"
        for part in ("quick", "device")
        if before[part] != after[part]
    ]
    for part in ("machine", "versions"):
        old, new = before[part], after[part]
        found += [
            f"{part}, {name}: {old.get(name)} -> {new.get(name)}"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ]
    a, b = by_key(before), by_key(after)
    found += [f"only in A: {a[row]['suite']}/{label(a[row])}" for row in a if row not in b]
    found += [f"only in B: {b[row]['suite']}/{label(b[row])}" for row in b if row not in a]
    return found


def table(before: dict[Any, Row], after: dict[Any, Row]) -> Table:
    """The rows that both runs have; "change" compares ours to its best peer, or to the limit."""
    result = Table()
    result.add_column("case")
    for heading in ("ours, A", "ours, B", "ratio, A", "ratio, B", "change"):
        result.add_column(heading, justify="right")
    for row in (row for row in before if row in after):
        result.add_row(*cells(before[row], after[row]))
    return result


def cells(before: Row, after: Row) -> tuple[str, ...]:
    unit = before["unit"]
    start = (
        f"{before['suite']}/{label(before)}",
        f"{value(before['ours'])} {unit}",
        f"{value(after['ours'])} {unit}",
    )
    a, b = yardstick(before), yardstick(after)
    if a is None or b is None:
        return (*start, "", "", "")
    return (*start, f"{a:.2f}", f"{b:.2f}", f"{b / a - 1:+.0%}")


def yardstick(row: Row) -> float | None:
    """The ratio that outlives a change of machine: to the best peer, else to the limit."""
    limit = row["limit"]["name"] if row["limit"] else None
    return row["ratios"].get(BEST_PEER, row["ratios"].get(limit))


if __name__ == "__main__":
    run_as_command(main, "bench:compare")
