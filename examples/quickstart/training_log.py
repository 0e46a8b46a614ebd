"""What the three trainings share: a progress bar with the loss, a stopwatch, and the result."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import SupportsFloat, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Batch = TypeVar("Batch")

LINES_WITHOUT_TERMINAL = 10


@dataclass(frozen=True)
class Result:
    """What one training hands to the report."""

    name: str
    losses: list[float]
    step_seconds: list[float]
    parameters: int
    predictions: np.ndarray  # (n,) labels 0..9 for the test images
    accuracy: float  # of the test images, 0 to 1

    @property
    def seconds_per_step(self) -> float:
        """Median over all steps but the first, in which JAX compiles."""
        return median(self.step_seconds[1:])


class TrainingLog:
    """Records the loss and the time of every step, and shows both while the training runs."""

    def __init__(self, console: Console, name: str, steps: int):
        self.console = console
        self.name = name
        self.steps = steps
        self.losses: list[float] = []
        self.step_seconds: list[float] = []

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches; the time until the next one is asked for is that of the step."""
        with self._progress_bar() as bar:
            task = bar.add_task(self.name, total=self.steps, loss="starting")
            for batch in batches:
                started = time.perf_counter()
                yield batch
                self.step_seconds.append(time.perf_counter() - started)
                bar.update(task, advance=1, loss=f"loss {self.losses[-1]:.4f}")
                if not self.console.is_interactive:
                    self._print_line()

    def record(self, loss: SupportsFloat) -> None:
        """Note the loss of a step; reading its value waits until the step has been computed."""
        self.losses.append(float(loss))

    def result(self, parameters: int, predictions: ArrayLike, labels: np.ndarray) -> Result:
        """Return the result of the training, given the predictions for the test images."""
        predictions = np.asarray(predictions)
        accuracy = float(np.mean(predictions == labels))
        return Result(self.name, self.losses, self.step_seconds, parameters, predictions, accuracy)

    def _progress_bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description:<23}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]:<11}"),
            TimeElapsedColumn(),
            console=self.console,
            expand=True,
            disable=not self.console.is_interactive,
        )

    def _print_line(self) -> None:
        """Print a plain line at every tenth of the way: a log file cannot hold a moving bar."""
        step = len(self.losses)
        if step * LINES_WITHOUT_TERMINAL % self.steps < LINES_WITHOUT_TERMINAL:
            self.console.print(
                f"{self.name:<23} step {step:>4}/{self.steps}  loss {self.losses[-1]:.4f}",
                highlight=False,
            )
