"""The report: a table in the terminal, and two figures as PNG files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from sklearn.metrics import confusion_matrix

from training_log import Result

# Three colours of Okabe and Ito, which are told apart with colour-blind eyes too. The last line is
# dashed: the two trainings of the PyTorch network start alike, and their curves lie on each other.
LINES = (
    {"color": "#D55E00", "linewidth": 4},
    {"color": "#0072B2", "linewidth": 2},
    {"color": "#009E73", "linewidth": 2, "linestyle": (0, (3, 2))},
)
SMOOTHING = 11


def print_table(console: Console, results: Sequence[Result], required_accuracy: float) -> None:
    """Print one row per training."""
    table = Table(title="Handwritten digits")
    table.add_column("training")
    for header in ("test accuracy", "time per step", "parameters"):
        table.add_column(header, justify="right")
    for result in results:
        colour = "green" if result.accuracy >= required_accuracy else "red"
        table.add_row(
            result.name,
            f"[{colour}]{result.accuracy:.1%}[/]",
            f"{result.seconds_per_step * 1e3:.1f} ms",
            f"{result.parameters:,}",
        )
    console.print(table)


def save_figures(results: Sequence[Result], labels: np.ndarray, out: Path) -> list[Path]:
    """Save the loss curves and the confusion matrices, and return the paths of both files."""
    paths = [out / "loss.png", out / "confusion.png"]
    figures = [draw_losses(results), draw_confusions(results, labels)]
    for path, figure in zip(paths, figures, strict=True):
        figure.savefig(path, dpi=150)
    return paths


def draw_losses(results: Sequence[Result]) -> Figure:
    """Draw the loss of every step (faint) and its running mean (strong) on a logarithmic scale."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for result, line in zip(results, LINES, strict=False):
        losses = np.asarray(result.losses)
        steps = np.arange(1, len(losses) + 1)
        mean = np.convolve(losses, np.ones(SMOOTHING) / SMOOTHING, mode="valid")
        axes.plot(steps, losses, linewidth=1, color=line["color"], alpha=0.15)
        axes.plot(steps[SMOOTHING - 1 :], mean, label=result.name, **line)
    axes.set(yscale="log", xlabel="step", ylabel="cross-entropy loss", title="Training loss")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title=f"mean of {SMOOTHING} steps", frameon=False)
    return figure


def draw_confusions(results: Sequence[Result], labels: np.ndarray) -> Figure:
    """Draw one confusion matrix per training, side by side."""
    figure = Figure(figsize=(4.6 * len(results), 5.4), layout="constrained")
    all_axes = figure.subplots(1, len(results), squeeze=False)[0]
    for result, axes in zip(results, all_axes, strict=True):
        draw_confusion(axes, confusion_matrix(labels, result.predictions, labels=range(10)))
        axes.set_title(f"{result.name}\n{result.accuracy:.1%} right")
    all_axes[0].set_ylabel("digit")
    return figure


def draw_confusion(axes: Axes, counts: np.ndarray) -> None:
    """Draw the counts (10, 10): right answers on blue, each kind of mistake on red."""
    right = np.eye(10, dtype=bool)
    axes.imshow(np.ma.masked_where(~right, counts), cmap="Blues", vmin=0, vmax=60)
    axes.imshow(np.ma.masked_where(right | (counts == 0), counts), cmap="Reds", vmin=-3, vmax=10)
    for row, column in zip(*np.nonzero(counts), strict=True):
        axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=9)
    axes.set(xticks=range(10), yticks=range(10), xlabel="predicted")
    axes.set_xticks(np.arange(0.5, 9.5), minor=True)
    axes.set_yticks(np.arange(0.5, 9.5), minor=True)
    axes.grid(which="minor", color="0.9")
    axes.tick_params(which="both", length=0)
