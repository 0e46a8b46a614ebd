"""Train a classifier of handwritten digits three ways, and compare them.

    python examples/quickstart [--epochs N] [--seed N] [--out DIR] [--only torch|jax|mixed]

Read the files in this order:

1. `data.py`: the digits, the split, the minibatches;
2. `net.py`: an ordinary PyTorch network;
3. `train_torch.py`: `pax_torch` trains that network in PyTorch with JAX's API;
4. `train_jax.py`: `pax_jax` and `opax` train a stateful module in a jitted step;
5. `train_mixed.py`: `torch2jax_bridge` and `opax` train the PyTorch network in a jitted JAX step.

`options.py` (command line), `training_log.py` (progress bar) and `report.py` (table and figures)
are the frame around them.
"""

import os
import sys
from importlib import import_module

from rich.console import Console

import data
import options
from report import print_table, save_figures
from training_log import Result

REQUIRED_ACCURACY = 0.95


def main(arguments: list[str]) -> int:
    """Run the trainings and the report; return the exit status."""
    settings = options.parse(arguments)
    console = Console()
    digits = data.load(settings.seed)
    console.print(
        f"{len(digits.train_labels)} digits to train on and {len(digits.test_labels)} to test, "
        f"{settings.epochs} epochs, seed {settings.seed}",
        highlight=False,
    )
    results = []
    for name in options.TRAININGS if settings.only is None else [settings.only]:
        # Imported only when its turn comes: each way needs only its own packages.
        training = import_module(f"train_{name}")
        results.append(training.train(digits, settings.epochs, settings.seed, console))
    print_table(console, results, REQUIRED_ACCURACY)
    try:
        paths = save_figures(results, digits.test_labels, settings.out)
    except OSError as error:
        print(f"quickstart: the figures could not be saved: {error}", file=sys.stderr)
        return 1
    print("loss curves:       ", paths[0])
    print("confusion matrices:", paths[1])
    return exit_status(results)


def exit_status(results: list[Result]) -> int:
    """Return 0 if all trainings are accurate enough, else name the others and return 1."""
    poor = [result.name for result in results if result.accuracy < REQUIRED_ACCURACY]
    if poor:
        needed = f"the required {REQUIRED_ACCURACY:.0%}"
        print(f"quickstart: below {needed} accuracy: {', '.join(poor)}", file=sys.stderr)
    return 1 if poor else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("quickstart: stopped", file=sys.stderr, flush=True)
        sys.stdout.flush()
        # At once: XLA may still compile in a thread, and the usual way out would crash in it.
        os._exit(130)
