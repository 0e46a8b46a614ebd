"""How rows look in a terminal."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.results import BEST_PEER, Row


def show(rows: Iterable[Row], console: Console) -> None:
    """Print one table for each suite."""
    for suite, its_rows in groupby(rows, key=lambda row: row["suite"]):
        console.print(table(suite, list(its_rows)))


def table(suite: str, rows: list[Row]) -> Table:
    result = Table(title=suite, title_justify="left", title_style="bold")
    result.add_column("case")
    result.add_column("ours", justify="right")
    result.add_column("peers")
    result.add_column("limit")
    result.add_column("to best peer", justify="right")
    result.add_column("to limit", justify="right")
    for row in rows:
        result.add_row(*cells(row))
    return result


def cells(row: Row) -> tuple[str, ...]:
    unit, limit, ratios = row["unit"], row["limit"], row["ratios"]
    by_median = sorted(row["peers"].items(), key=lambda peer: peer[1]["median"])
    return (
        label(row),
        f"{value(row['ours'])} {unit}",
        "\n".join(f"{name} {value(peer)} {unit}" for name, peer in by_median),
        f"{limit['name']} {value(limit)} {unit}" if limit else "",
        f"{ratios[BEST_PEER]:.2f}" if BEST_PEER in ratios else "",
        f"{ratios[limit['name']]:.2f}" if limit else "",
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
