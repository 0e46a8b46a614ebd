"""What the tools know about the five distributions, in the order in which they depend on one another."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("pax-tree", "pax-torch", "pax-jax", "opax", "torch2jax-bridge")

# Distributions that installing each package alone must not bring.
FOREIGN = {
    "pax-tree": {"torch", "jax", "jaxlib", "numpy"},
    "pax-torch": {"jax", "jaxlib"},
    "pax-jax": {"torch"},
    "opax": {"torch"},
    "torch2jax-bridge": set(),
}

# What the tests of each package need besides the package.
TEST_REQUIREMENTS = ("pytest", "hypothesis", "numpy")


def folder(name: str) -> Path:
    return ROOT / "packages" / name


def import_name(name: str) -> str:
    return name.replace("-", "_")


def registry_name(name: str) -> str:
    """Return the name that the package is published under: `name` in its pyproject.toml."""
    return project(name)["name"]


def file_stem(name: str) -> str:
    """How the names of the package's wheels and sdists begin."""
    return f"{registry_name(name).replace('-', '_')}-{version()}"


def project(name: str) -> dict:
    with (folder(name) / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]


def extras(name: str) -> list[str]:
    """Return the names of the package's extras."""
    return sorted(project(name).get("optional-dependencies", {}))


def version() -> str:
    """Return the version in version.py."""
    return re.search(r'__version__ = "([^"]+)"', (ROOT / "version.py").read_text())[1]


def pinned(variable: str) -> str:
    """Return the version that hatch.toml pins under `variable`, unless the environment names another."""
    default = re.search(rf"{{env:{variable}:([^}}]+)}}", (ROOT / "hatch.toml").read_text())[1]
    return os.environ.get(variable, default)
