"""`benchmarks/gpu.sh`: everything that needs a CUDA device, each part with its own process, limit and log."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Of these files each test is a case for itself: it may end its process.
BY_CASE = ("test_bridge_memory_gpu.py", "test_bridge_devices_gpu.py")
FILES = ("packages/*/tests/test_*gpu.py", "tests/*/test_arithmetic_vs_torch.py")
PYTEST = ("-m", "pytest", "-o", "addopts=", "--import-mode=importlib", "-m", "gpu", "-q", "-rfE")
PYTEST += ("-W", "default", "-p", "no:cacheprovider", "--tb=short")
SHOWN = 15  # lines of a log that the output shows of what has failed
MOST_SHOWN = 7000  # characters of all of them
VERSIONS = """
import torch, jax
print("PyTorch", torch.__version__, "JAX", jax.__version__, *jax.devices())
print(*(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())), sep=", ")
"""


@dataclass(frozen=True)
class Step:
    """A part of the plan.

    Attributes:
        name: what the table calls it.
        arguments: of Python.
        limit: its seconds at most.
    """

    name: str
    arguments: tuple[str, ...]
    limit: float


@dataclass
class Outcome:
    """What has become of a step.

    Attributes:
        name: the step's.
        state: "passed", "failed", "killed by ...", "out of time" or "not run".
        seconds: how long it took.
        said: the last line of its log.
    """

    name: str
    state: str
    seconds: float = 0.0
    said: str = ""


class Plan:
    """Runs steps until time is up, and keeps the table of what is known up to date.

    Args:
        out: where the table and the logs go.
        seconds: for all steps together.
    """

    def __init__(self, out: Path, seconds: float) -> None:
        self._out = out
        self._end = time.monotonic() + seconds
        self.logs = Path(tempfile.mkdtemp(prefix="gpu-logs-"))
        self.outcomes: list[Outcome] = []

    def run(self, steps: Sequence[Step], jobs: int) -> None:
        """Run steps, some at a time; the table has them in their order."""
        outcomes = [Outcome(step.name, "not run") for step in steps]
        self.outcomes += outcomes
        with ThreadPoolExecutor(jobs) as pool:
            for _ in pool.map(self._run, steps, outcomes):
                self.save()

    def _run(self, step: Step, outcome: Outcome) -> None:
        limit = min(step.limit, self._end - time.monotonic())
        if limit <= 0:
            return
        log = self.logs / f"{step.name.replace('/', '-').replace(' ', '-')}.log"
        began = time.monotonic()
        with log.open("wb") as file:
            command = [sys.executable, *step.arguments]
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                outcome.state = described(process.wait(limit))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                outcome.state = "out of time"
        outcome.seconds = time.monotonic() - began
        outcome.said = (lines_of(log) or [""])[-1].strip("= ")

    def table(self) -> str:
        """Return the table."""
        width = max(len(outcome.name) for outcome in self.outcomes)
        rows = [
            f"{o.name:{width}}  {o.state:12} {o.seconds:6.1f} s  {o.said[:90]}".rstrip()
            for o in self.outcomes
        ]
        passed = sum(outcome.state == "passed" for outcome in self.outcomes)
        return "\n".join([f"{passed} of {len(rows)} steps passed", *rows])

    def failures(self) -> Iterator[str]:
        """Yield the ends of the logs of steps that have not passed."""
        for outcome in self.outcomes:
            log = self.logs / f"{outcome.name.replace('/', '-').replace(' ', '-')}.log"
            if outcome.state != "passed" and log.exists():
                yield "\n".join([f"--- {outcome.name}", *lines_of(log)[-SHOWN:]])

    def save(self) -> None:
        """Write the table, also as JSON, and the logs."""
        (self._out / "summary.txt").write_text(self.table() + "\n")
        outcomes = [asdict(outcome) for outcome in self.outcomes]
        (self._out / "summary.json").write_text(json.dumps(outcomes, indent=1) + "\n")
        archive(self.logs, self._out / "logs.tar.gz")


def described(status: int) -> str:
    """Return what an exit status says."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return "passed" if status == 0 else "failed"


def lines_of(log: Path) -> list[str]:
    """Return the lines of a log that are not empty."""
    return [line for line in log.read_text(errors="replace").splitlines() if line.strip()]


def archive(folder: Path, file: Path) -> None:
    """Put a folder into one file."""
    with tarfile.open(file, "w:gz") as tar:
        tar.add(folder, arcname=file.name.partition(".")[0])


def tests() -> Iterator[Step]:
    """Yield the test files, and the cases."""
    for pattern in FILES:
        for file in sorted(ROOT.glob(pattern)):
            path = str(file.relative_to(ROOT))
            if file.name not in BY_CASE:
                yield Step(file.stem, (*PYTEST, path), 150)
                continue
            for case in re.findall(r"^def (test_\w+)", file.read_text(), flags=re.MULTILINE):
                yield Step(case.removeprefix("test_bridge_gpu_"), (*PYTEST, f"{path}::{case}"), 60)


def main(arguments: list[str]) -> int:
    """Run the plan; 0 if all steps passed."""
    parser = argparse.ArgumentParser(prog="gpu.sh", description="Run all that needs a GPU.")
    parser.add_argument("--out", type=Path, required=True, help="the folder for what it finds")
    parser.add_argument("--minutes", type=float, default=8.5, help="for all of it")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="at a time")
    parser.add_argument("--full", action="store_true", help="longer rounds of the benchmarks")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    plan = Plan(given.out, 60 * given.minutes)
    plan.run([Step("versions", ("-c", VERSIONS), 60)], 1)
    plan.run([Step("self check", ("-m", "torch2jax_bridge"), 60), *tests()], given.jobs)
    measured = Path(tempfile.mkdtemp(prefix="gpu-benchmarks-"))
    quick = () if given.full else ("--quick",)
    options = ("--device", "cuda", "--out", str(measured), *quick)
    suites = [
        Step(f"benchmarks {suite}", ("-m", "benchmarks.run", suite, *options), 200)
        for suite in ("bridge", "jax2torch")
    ]
    plan.run(suites, 1)
    plan.save()
    archive(measured, given.out / "benchmarks.tar.gz")
    print(plan.table())
    print("\n".join(plan.failures())[:MOST_SHOWN])
    shutil.rmtree(measured)
    shutil.rmtree(plan.logs)
    return 0 if all(outcome.state == "passed" for outcome in plan.outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
