"""What the last run of the benchmarks says, for `<!-- benchmarks: WHAT -->` on a page.

The run is the newest JSON file in `docs/assets/benchmarks`. WHAT is `numbers`, `run`, `losses`, `table SUITE` or
`plots`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from html import escape
from itertools import islice
from math import log
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "assets" / "benchmarks"
MARKER = re.compile(r"<!-- benchmarks: (\w+) ?([\w-]*) -->")
NONE = "No run has been added to this site yet."
SIZE = re.compile(
    r"scale_(?P<name>\w+)-(?P<number>\d+)(?P<thousand>k?)|(?P<op>add)-1e(?P<power>\d+)"
)

# The three on the first page: the row, the peer, and what its ratio means.
NUMBERS = (
    (
        "tree",
        "map1-gpt2",
        "jax",
        "{faster:.1f}&times;",
        "as fast as `jax.tree.map` over a GPT-2's arrays",
    ),
    (
        "modules",
        "step",
        "nnx.jit",
        "{faster:.1f}&times;",
        "as fast as `nnx.jit`, a step over 600 arrays",
    ),
    (
        "bridge",
        "resnet18-step",
        "eager torch",
        "{ratio:.2f}",
        "of PyTorch's time: its ResNet-18 inside `jax.jit`",
    ),
)

Row = dict[str, Any]


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Replace the markers of a page, before its Markdown is read."""
    return MARKER.sub(lambda found: "\n".join(section(found[1], found[2])), markdown)


def section(what: str, suite: str) -> Iterator[str]:
    """The lines that take a marker's place."""
    run = newest()
    if run is None:
        return iter((NONE,))
    sections = {
        "numbers": numbers,
        "run": about,
        "losses": losses,
        "plots": plots,
        "table": lambda run: table(run, suite),
    }
    return sections[what](run)


def newest() -> Row | None:
    """The run that was added last: its file's name begins with its time."""
    files = sorted(FOLDER.glob("*.json"))
    return json.loads(files[-1].read_text(encoding="utf-8")) if files else None


def numbers(run: Row) -> Iterator[str]:
    """Three numbers, each with what it is of."""
    yield '<ul class="numbers" markdown>'
    for suite, case, peer, form, meaning in NUMBERS:
        for row in run["rows"]:
            if (row["suite"], row["case"], row["metric"]) == (suite, case, "time"):
                ratio = row["ratios"][peer]
                yield f"<li markdown>**{form.format(ratio=ratio, faster=1 / ratio)}** {meaning}</li>"
    yield "</ul>"


def about(run: Row) -> Iterator[str]:
    """When, on what and with which versions it was measured."""
    machine, versions = run["machine"], run["versions"]
    day = datetime.fromisoformat(run["started"]).strftime("%-d %B %Y")
    rounds = "short rounds (`--quick`)" if run["quick"] else "full rounds"
    yield f"Measured on {day}, {machine['processor']}, {machine['cores']} cores, {run['device']}, {rounds}. "
    ours = {"pax-tree", "pax-torch", "pax-jax", "opax", "torch2jax-bridge"}
    peers = [f"{name} {version}" for name, version in versions.items() if name not in ours]
    yield f"Versions: {', '.join(peers)}; ours {versions['pax-tree']}."


def losses(run: Row) -> Iterator[str]:
    """Every program that takes less time than ours, the worst first."""
    lost = [
        (ratio, peer, row)
        for row in run["rows"]
        for peer, ratio in row["ratios"].items()
        if peer != "best peer" and ratio > 1.02
    ]
    if not lost:
        yield "In no row of the last run."
        return
    yield "| case | slower than | our time to theirs |"
    yield "|---|---|---|"
    for ratio, peer, row in sorted(lost, key=lambda one: -one[0]):
        yield f"| {row['suite']}: {row['case']} | {peer} | **{ratio:.2f}** |"


def table(run: Row, suite: str) -> Iterator[str]:
    """The ratios of a suite: a line for each case, a column for each peer."""
    rows = [row for row in run["rows"] if row["suite"] == suite and not SIZE.fullmatch(row["case"])]
    if not rows:
        yield "The last run did not measure this suite."
        return
    others = dict.fromkeys(name for row in rows for name in row["ratios"] if name != "best peer")
    columns = list(islice(others, 7))
    yield f"| case | ours | {' | '.join(columns)} |"
    yield f"|---|---:|{'---:|' * len(columns)}"
    for row in rows:
        ratios = [row["ratios"].get(name) for name in columns]
        shown = ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        metric = "" if row["metric"] == "time" else f", {row['metric']}"
        yield f"| {row['case']}{metric} | {measured(row)} | {' | '.join(shown)} |"


def measured(row: Row) -> str:
    """Our median, in a unit in which it has few digits."""
    median = row["ours"]["median"]
    if row["unit"] != "us":
        return f"{median:,.0f} {row['unit']}".strip()
    return f"{median:.3g} µs" if median < 1000 else f"{median / 1000:,.3g} ms"


def plots(run: Row) -> Iterator[str]:
    """A drawing of each series of sizes."""
    series: dict[str, list[tuple[float, Row]]] = {}
    for row in run["rows"]:
        if found := SIZE.fullmatch(row["case"]):
            name = f"{row['suite']}: {(found['name'] or found['op']).replace('_', ' ')}"
            series.setdefault(name, []).append((size(found), row))
    for name, points in series.items():
        if len(points) >= 3:
            yield Plot(name, sorted(points, key=lambda point: point[0])).html()
            yield ""


def size(found: re.Match[str]) -> float:
    if found["power"]:
        return 10.0 ** int(found["power"])
    return float(found["number"]) * (1000 if found["thousand"] else 1)


class Plot:
    """Time against size, both logarithmic, as SVG that takes its colours from the page."""

    width, height, left, bottom, top, right = 560, 300, 56, 34, 12, 12

    def __init__(self, name: str, points: list[tuple[float, Row]]) -> None:
        self.name = name
        self.lines = {"ours": [(at, row["ours"]["median"]) for at, row in points]}
        for peer in dict.fromkeys(peer for _, row in points for peer in others(row)):
            taken = ((at, others(row).get(peer)) for at, row in points)
            self.lines[peer] = [(at, found) for at, found in taken if found]
        every = [point for line in self.lines.values() for point in line]
        self.x_range = min(x for x, _ in every), max(x for x, _ in every)
        self.y_range = min(y for _, y in every), max(y for _, y in every)

    def html(self) -> str:
        """A figure with its legend."""
        title = escape(self.name)
        legend = "".join(
            f'<li class="line-{number}">{escape(name)}</li>'
            for number, name in enumerate(self.lines)
        )
        return (
            f'<figure class="plot"><figcaption><strong>{title}</strong>, time against size</figcaption>'
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{title}">'
            f"{''.join(self.grid())}{''.join(self.curves())}</svg><ul>{legend}</ul></figure>"
        )

    def x(self, value: float) -> float:
        return self.left + share(value, *self.x_range) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        return self.top + (1 - share(value, *self.y_range)) * (self.height - self.top - self.bottom)

    def grid(self) -> Iterator[str]:
        """A line and a label at each power of ten."""
        low, high = self.top, self.height - self.bottom
        for value in powers(*self.x_range):
            at = self.x(value)
            yield f'<line x1="{at:.1f}" y1="{low}" x2="{at:.1f}" y2="{high}"/>'
            yield f'<text x="{at:.1f}" y="{high + 18}" text-anchor="middle">{amount(value)}</text>'
        for value in powers(*self.y_range):
            at = self.y(value)
            yield f'<line x1="{self.left}" y1="{at:.1f}" x2="{self.width - self.right}" y2="{at:.1f}"/>'
            yield f'<text x="{self.left - 6}" y="{at + 4:.1f}" text-anchor="end">{duration(value)}</text>'

    def curves(self) -> Iterator[str]:
        """The peers' lines, and ours over them."""
        for number, line in reversed(list(enumerate(self.lines.values()))):
            path = " ".join(f"{self.x(at):.1f},{self.y(value):.1f}" for at, value in line)
            yield f'<polyline class="line-{number}" points="{path}"/>'


def others(row: Row) -> dict[str, float]:
    """The medians of the peers and of the limit."""
    found = {name: peer["median"] for name, peer in row["peers"].items()}
    limit = row["limit"]
    return found | ({limit["name"]: limit["median"]} if limit else {})


def share(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, by their logarithms."""
    return log(value / low) / log(high / low)


def powers(low: float, high: float) -> list[float]:
    return [10.0**n for n in range(-3, 12) if low <= 10.0**n <= high]


def amount(value: float) -> str:
    for factor, sign in ((1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.0f}{sign}"
    return f"{value:.0f}"


def duration(microseconds: float) -> str:
    for factor, unit in ((1e6, "s"), (1e3, "ms"), (1, "µs")):
        if microseconds >= factor:
            return f"{microseconds / factor:.0f} {unit}"
    return f"{microseconds * 1000:.0f} ns"
