"""How rows look in a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.results import BEST_PEER, Row


def show(rows: Iterable[Row], console: Console) -> None:
    """Print one table for each suite."""
    for suite, its_rows in groupby(rows, key=lambda row: row["suite"]):
        console.print(table(suite, list(its_rows)))


def table(suite: str, rows: list[Row]) -> Table:
    result = Table(title=suite, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    result.add_column("case", no_wrap=True)
    result.add_column("ours", justify="right")
    result.add_column("to best peer")
    result.add_column("to limit")
    result.add_column("peers")
    for row in rows:
        result.add_row(*cells(row))
    return result


def cells(row: Row) -> tuple[str, ...]:
    limit, ratios = row["limit"], row["ratios"]
    peers = sorted(row["peers"].items(), key=lambda peer: peer[1]["median"])
    return (
        label(row),
        f"{value(row['ours'])} {row['unit']}",
        f"{ratios[BEST_PEER]:.2f} {peers[0][0]}" if peers else "",
        f"{ratios[limit['name']]:.2f} {limit['name']}" if limit else "",
        ", ".join(f"{name} {number(peer['median'])}" for name, peer in peers),
    )


def label(row: Row) -> str:
    """The case, and what was measured where that is not its time."""
    return row["case"] if row["metric"] == "time" else f"{row['case']}: {row['metric']}"


def value(measured: dict[str, Any]) -> str:
    """A median with its interquartile range."""
    return f"{number(measured['median'])} ±{number(measured['iqr'])}"


def number(x: float) -> str:
    """Three significant digits, and thousands set apart."""
    return f"{x:.3g}" if abs(x) < 100 else f"{x:,.0f}"


def line(row: Row) -> str:
    """A row in one line, shown as soon as it is measured."""
    ratios = [
        f"{ratio:.2f} of {name}" for name, ratio in row["ratios"].items() if name != BEST_PEER
    ]
    start = f"{row['suite']}/{label(row)}: {value(row['ours'])} {row['unit']}"
    return f"{start}; {', '.join(ratios)}" if ratios else start


def failure_line(failure: dict[str, str]) -> str:
    return f"failed: {failure['suite']}/{failure['case']}: {failure['error']}"
