"""Plots of the cases that were measured at several sizes: time against size, both logarithmic."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.errors import BenchmarkError
from benchmarks.report import label
from benchmarks.results import Row

SIZE = re.compile(r"(?P<stem>.+)-(?P<number>\d+(?:e\d+)?)(?P<thousand>k?)")
FEWEST_SIZES = 3
Series = dict[str, list[tuple[float, Row]]]


def draw(rows: Iterable[Row], folder: Path, prefix: str) -> list[Path]:
    """Write one PNG for each series of sizes among the rows.

    Returns:
        The files, named `PREFIX-SUITE-SERIES.png`.

    Raises:
        BenchmarkError: a file cannot be written, because the disk is full for example.
    """
    files = []
    for name, points in series(rows).items():
        file = (
            folder / f"{prefix}-{name.replace('/', '-').replace(': ', '-').replace(' ', '_')}.png"
        )
        try:
            figure(name, points).savefig(file, dpi=150)
        except OSError as error:
            raise BenchmarkError(f"cannot write {file}: {error.strerror}") from None
        files.append(file)
    return files


def series(rows: Iterable[Row]) -> Series:
    """The rows of each case that was measured at three sizes or more, with their sizes, in order."""
    found: Series = defaultdict(list)
    for row in rows:
        if matched := SIZE.fullmatch(row["case"]):
            size = float(matched["number"]) * (1000 if matched["thousand"] else 1)
            found[f"{row['suite']}/{label({**row, 'case': matched['stem']})}"].append((size, row))
    return {
        name: sorted(points, key=lambda point: point[0])
        for name, points in found.items()
        if len(points) >= FEWEST_SIZES
    }


def figure(name: str, points: list[tuple[float, Row]]) -> Figure:
    """Our line drawn thick, those of the peers thin and the limit's dashed."""
    result = Figure(figsize=(7, 4.5), layout="constrained")
    axes = result.add_subplot(
        title=name,
        xscale="log",
        yscale="log",
        xlabel="size (leaves, layers or elements)",
        ylabel=f"{points[0][1]['metric']} in {points[0][1]['unit']}",
    )
    axes.plot(*curve(points, lambda row: row["ours"]), marker="o", linewidth=2.5, label="ours")
    for peer in dict.fromkeys(peer for _, row in points for peer in row["peers"]):
        theirs = curve(points, lambda row, peer=peer: row["peers"].get(peer))
        axes.plot(*theirs, marker=".", linewidth=1, label=peer)
    for limit in dict.fromkeys(row["limit"]["name"] for _, row in points if row["limit"]):
        theirs = curve(points, lambda row, limit=limit: limit_of(row, limit))
        axes.plot(*theirs, marker=".", linestyle="--", label=limit)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize="small")
    return result


def curve(
    points: list[tuple[float, Row]], measured: Callable[[Row], Row | None]
) -> tuple[list[float], list[float]]:
    """Sizes and medians of a program, where it took part."""
    taken = [(size, found["median"]) for size, row in points if (found := measured(row))]
    return [size for size, _ in taken], [median for _, median in taken]


def limit_of(row: Row, name: str) -> Row | None:
    return row["limit"] if row["limit"] and row["limit"]["name"] == name else None
