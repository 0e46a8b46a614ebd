"""The command line: what can be set, and one clear line for what is wrong."""

import argparse
import tempfile
from pathlib import Path
from typing import NoReturn

TRAININGS = ("torch", "jax", "mixed")
MOST_EPOCHS = 10_000
LARGEST_SEED = 2**32 - 1


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a wrong argument in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message on one line and exit with status 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the arguments into epochs, seed, out and only; exit with status 2 if one is wrong."""
    parser = Parser(
        prog="quickstart",
        description="Train a classifier of handwritten digits three ways and compare them.",
        allow_abbrev=False,
    )
    parser.add_argument("--epochs", type=epochs, default=10, help="passes over the data (10)")
    parser.add_argument("--seed", type=seed, default=0, help="split, initial weights, order (0)")
    parser.add_argument("--out", type=Path, default="out", metavar="DIR", help="figures (./out)")
    parser.add_argument("--only", choices=TRAININGS, help="run one of the three trainings")
    settings = parser.parse_args(arguments)
    try:
        make_writable(settings.out)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        parser.error(
            f"argument --out: cannot write into the folder {str(settings.out)!r} ({reason}); "
            "choose another one"
        )
    return settings


def epochs(text: str) -> int:
    """Read the number of epochs."""
    return whole_number(text, 1, MOST_EPOCHS)


def seed(text: str) -> int:
    """Read the seed, in the range that scikit-learn accepts."""
    return whole_number(text, 0, LARGEST_SEED)


def whole_number(text: str, smallest: int, largest: int) -> int:
    """Read a whole number within the limits."""
    if text.isascii() and text.isdigit() and len(text) < 20 and smallest <= int(text) <= largest:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"{text[:40]!r} is not a whole number from {smallest} to {largest}"
    )


def make_writable(path: Path) -> None:
    """Make the folder where it is missing, and check that a file can be written into it."""
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path) as file:
        file.write(b"test")
