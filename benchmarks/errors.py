"""The error that ends a command with one line, and the parser and entry point that use it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn


class BenchmarkError(Exception):
    """Something the user can mend; shown as one line."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise BenchmarkError(message)


def run_as_command(main: Callable[[list[str]], int], name: str) -> NoReturn:
    """Run `main` on the command line's arguments and exit with its status, 2 for a user's mistake."""
    try:
        status = main(sys.argv[1:])
    except BenchmarkError as error:
        print(f"{name}: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        status = 130
    sys.exit(status)
