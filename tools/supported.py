"""The supported versions of Python, PyTorch and JAX, as `versions.toml` says, and the cells to test them in."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("versions.toml")
ENDS = ("lowest", "newest")


@dataclass(frozen=True)
class Cell:
    """One combination of versions; `torch` is None where there is no PyTorch."""

    name: str
    python: str
    torch: str | None
    jax: str


def versions() -> dict:
    """Return what `versions.toml` says."""
    return tomllib.loads(FILE.read_text())


def requirement(library: str) -> str:
    """Return what packages that depend on `torch` or `jax` demand of it."""
    return versions()[library]["requirement"]


def version(library: str, end: str, python: str) -> str:
    """Return the lowest or newest version of a library for a version of Python."""
    table = versions()[library]
    return table.get(f"{end}-on", {}).get(python, table[end])


def cells() -> list[Cell]:
    """Return every cell, those without PyTorch first, which are cheap."""
    found = [
        Cell(f"{python}-none-{jax}", python, None, version("jax", jax, python))
        for python, jax in versions()["without-torch"].items()
    ]
    found += [
        Cell(
            f"{python}-{torch}-{jax}",
            python,
            version("torch", torch, python),
            version("jax", jax, python),
        )
        for python in versions()["python"]
        for torch in ENDS
        for jax in ENDS
    ]
    return found
