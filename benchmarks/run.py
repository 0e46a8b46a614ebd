"""`python -m benchmarks.run [SUITE ...]`: measure, print the tables, write the JSON file and the plots."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import report, suites
from benchmarks.case import Case
from benchmarks.errors import BenchmarkError, Parser, run_as_command
from benchmarks.machine import machine, versions
from benchmarks.measure import FULL, QUICK, Effort, interleaved
from benchmarks.results import SCHEMA, Row, rows, save

OUT = Path(__file__).parents[1] / "out" / "benchmarks"
Suite = Callable[[str], Iterable[Case]]
Failure = dict[str, str]


def main(arguments: list[str]) -> int:
    """Run the chosen suites; 0, or 1 when a case failed."""
    options = parsed(arguments)
    if options.device == "cuda":
        require_cuda()
    file = new_file(options.out)
    chosen = {name: suite(name) for name in dict.fromkeys(options.suites or names())}
    console = Console()
    run: dict[str, Any] = {
        "schema": SCHEMA,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "device": options.device,
        "suites": list(chosen),
        "machine": machine(),
        "versions": versions(),
    }
    effort = QUICK if options.quick else FULL
    run["rows"], run["failures"] = measured(chosen, effort, options.device, console)
    save(run, file)
    report.show(run["rows"], console)
    for failure in run["failures"]:
        console.print(report.failure_line(failure), markup=False, soft_wrap=True)
    console.print(f"{len(run['rows'])} rows in {file}", markup=False, soft_wrap=True)
    plot(run["rows"], file, console)
    return 1 if run["failures"] else 0


def parsed(arguments: list[str]) -> Any:
    parser = Parser(prog="bench:run", description="Measure the packages beside their peers.")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"any of: {', '.join(names())}")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="DIR", help="for the JSON file and the plots"
    )
    return parser.parse_args(arguments)


def names() -> list[str]:
    """The suites there are: the modules of `benchmarks.suites`."""
    return [module.name for module in pkgutil.iter_modules(suites.__path__)]


def suite(name: str) -> Suite:
    """Import a suite, and with it its peers."""
    if name not in names():
        raise BenchmarkError(f"there is no suite {name!r}; the suites are {', '.join(names())}")
    try:
        return importlib.import_module(f"{suites.__name__}.{name}").cases
    except ModuleNotFoundError as error:
        advice = "start it with ./tools/hatch run bench:run, whose environment has the peers"
        missing = f"suite {name!r} needs {error.name}, which is not installed"
        raise BenchmarkError(f"{missing}; {advice}") from None
    except ImportError as error:
        raise BenchmarkError(f"suite {name!r} cannot be imported: {error}") from None


def require_cuda() -> None:
    try:
        import torch
    except ModuleNotFoundError:
        raise BenchmarkError("--device cuda needs torch, which is not installed") from None
    if not torch.cuda.is_available():
        raise BenchmarkError("--device cuda was given, but torch finds no CUDA device here")


def new_file(folder: Path) -> Path:
    """A name for this run's file, in a folder that is made if need be; the newest sorts last."""
    file = folder.absolute() / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.touch()
        file.unlink()
    except OSError as error:
        raise BenchmarkError(f"cannot write to {folder}: {error.strerror}") from None
    return file


def measured(
    chosen: dict[str, Suite], effort: Effort, device: str, console: Console
) -> tuple[list[Row], list[Failure]]:
    """Measure case after case, showing each as it is done; one that fails does not end the run."""
    done: list[Row] = []
    failures: list[Failure] = []
    columns = SpinnerColumn(), TextColumn("{task.completed} done, now {task.description}")
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("starting", total=None)
        for case in built(chosen, device, failures):
            progress.update(bar, description=f"{case.suite}/{case.case}")
            try:
                new = rows(case, interleaved(case, effort, device))
            except Exception as error:
                failures.append(failure(case.suite, case.case, error))
                continue
            done += new
            progress.advance(bar)
            for row in new:
                console.print(report.line(row), markup=False, highlight=False, soft_wrap=True)
    return done, failures


def built(chosen: dict[str, Suite], device: str, failures: list[Failure]) -> Iterator[Case]:
    """Build case after case; a suite that cannot build its next one ends there."""
    for name, cases in chosen.items():
        try:
            yield from cases(device)
        except Exception as error:
            failures.append(failure(name, "building its next case", error))


def plot(measured: list[Row], file: Path, console: Console) -> None:
    """Write the plots beside the run's file, where matplotlib is there to draw them."""
    try:
        from benchmarks import plots
    except ModuleNotFoundError as error:
        console.print(f"no plots: {error.name} is not installed")
        return
    for picture in plots.draw(measured, file.parent, file.stem):
        console.print(f"plotted {picture}", markup=False, soft_wrap=True)


def failure(suite: str, case: str, error: Exception) -> Failure:
    return {"suite": suite, "case": case, "error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    run_as_command(main, "bench:run")
