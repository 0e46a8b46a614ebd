"""A wheel serves every supported jaxlib only if it is built for the oldest."""

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "packages" / "torch2jax-bridge" / "pyproject.toml"


def test_bridge_is_built_for_the_oldest_jaxlib():
    project = tomllib.loads(PROJECT.read_text())
    (built_for,) = [r for r in project["build-system"]["requires"] if r.startswith("jaxlib")]
    (supported,) = [r for r in project["project"]["dependencies"] if r.startswith("jax>")]
    oldest = re.match(r"jax>=(\d+\.\d+)", supported)
    assert oldest is not None
    assert built_for == f"jaxlib=={oldest[1]}.*"
