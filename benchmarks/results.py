"""From samples to rows, and the JSON file that holds a run."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.case import Case
from benchmarks.errors import BenchmarkError

SCHEMA = 1
BEST_PEER = "best peer"
Row = dict[str, Any]


def rows(case: Case, samples: Mapping[str, list[dict[str, float]]]) -> list[Row]:
    """One row for each metric that was measured."""
    return [row(case, metric, values_of(samples, metric)) for metric in samples["ours"][0]]


def values_of(samples: Mapping[str, list[dict[str, float]]], metric: str) -> dict[str, list[float]]:
    return {name: [sample[metric] for sample in taken] for name, taken in samples.items()}


def row(case: Case, metric: str, values: Mapping[str, list[float]]) -> Row:
    """A case's line in the report: medians, spreads and the ratios of ours to everybody else."""
    ratios = {name: ratio(values["ours"], values[name]) for name in values if name != "ours"}
    peers = {name: summary(values[name]) for name in case.peers}
    if peers:
        best = min(peers, key=lambda name: peers[name]["median"])
        ratios[BEST_PEER] = ratios[best]
    limit = {"name": case.limit[0], **summary(values[case.limit[0]])} if case.limit else None
    return {
        "suite": case.suite,
        "case": case.case,
        "metric": metric,
        "unit": case.unit,
        "ours": summary(values["ours"]),
        "peers": peers,
        "limit": limit,
        "ratios": ratios,
    }


def summary(values: list[float]) -> dict[str, float]:
    """Median, interquartile range and number of samples."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": statistics.median(values), "iqr": high - low, "samples": len(values)}


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the ratios within the rounds: a slow phase of the machine slows both sides."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def key(row: Row) -> tuple[str, str, str]:
    """What a row is found by in another run."""
    return row["suite"], row["case"], row["metric"]


def save(run: Mapping[str, Any], path: Path) -> None:
    """Write a run's file.

    Raises:
        BenchmarkError: it cannot be written, because the disk is full for example.
    """
    try:
        path.write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise BenchmarkError(f"cannot write {path}: {error.strerror}") from None


def load(path: Path) -> dict[str, Any]:
    """Read a run's file.

    Raises:
        BenchmarkError: there is no such file, or it is not a run's.
    """
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchmarkError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise BenchmarkError(f"{path} is not JSON: {error}") from None
    if not isinstance(run, dict) or run.get("schema") != SCHEMA:
        raise BenchmarkError(f"{path} was not written by this version of benchmarks.run")
    return run
