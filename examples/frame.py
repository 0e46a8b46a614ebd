"""What the examples share: the command line, a progress bar with the loss, and a clean way out."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, SupportsFloat

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINES_WITHOUT_TERMINAL = 10
MOST = 1_000_000


class Parser(argparse.ArgumentParser):
    """The options that all examples have; a wrong argument is one line and status 2."""

    def __init__(self, description: str, steps: int):
        super().__init__(prog=Path(sys.argv[0]).stem, description=description, allow_abbrev=False)
        self.add_count("--steps", steps, "training steps")
        self.add_count("--seed", 0, "of weights and data", smallest=0)

    def add_count(self, name: str, default: int, meaning: str, smallest: int = 1) -> None:
        """Add an option that is a whole number."""
        read = whole_number(smallest)
        self.add_argument(name, type=read, default=default, help=f"{meaning} ({default})")

    def error(self, message: str) -> NoReturn:
        """Print the message on one line and exit with status 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def whole_number(smallest: int) -> Callable[[str], int]:
    """Make a reader of whole numbers from `smallest` to a million."""

    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) < 10 and smallest <= int(text) <= MOST:
            return int(text)
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is not a whole number from {smallest} to {MOST}"
        )

    return read


class Training:
    """A progress bar that shows the loss; in a log file, a line at every tenth of the way."""

    def __init__(self, name: str, steps: int):
        self.console = Console()
        self.name = name
        self.steps = steps
        self.losses: list[float] = []

    def __iter__(self) -> Iterator[int]:
        """Count the steps."""
        with self._bar() as bar:
            task = bar.add_task(self.name, total=self.steps, loss="compiling")
            for step in range(self.steps):
                yield step
                bar.update(task, advance=1, loss=f"loss {self.losses[-1]:.4f}")
                if not self.console.is_interactive:
                    self._print_line(step + 1)

    def record(self, loss: SupportsFloat) -> None:
        """Note the loss of a step; reading its value waits until the step has been computed."""
        self.losses.append(float(loss))

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]:<11}"),
            TimeElapsedColumn(),
            console=self.console,
            expand=True,
            disable=not self.console.is_interactive,
        )

    def _print_line(self, step: int) -> None:
        if step * LINES_WITHOUT_TERMINAL % self.steps < LINES_WITHOUT_TERMINAL:
            print(f"{self.name}  step {step}/{self.steps}  loss {self.losses[-1]:.4f}", flush=True)


def run(main: Callable[[], None]) -> NoReturn:
    """Run an example to its end, or until Ctrl-C."""
    try:
        main()
    except KeyboardInterrupt:
        print(f"{Path(sys.argv[0]).stem}: stopped", file=sys.stderr, flush=True)
        sys.stdout.flush()
        # At once: XLA may still compile in a thread, and the usual way out would crash in it.
        os._exit(130)
    sys.exit(0)
