"""What a program waits for before its first line: the import of each package in a fresh process."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.case import Case

TIMED_IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def cases(device: str) -> Iterator[Case]:
    """Each package beside what it stands on, which is its limit, and beside its peers."""
    yield imported("pax_tree", peers={"optree": "optree", "dm-tree": "tree"})
    yield imported("pax_torch", limit=("torch", "torch"), peers={"torchopt": "torchopt"})
    yield imported(
        "pax_jax", limit=("jax", "jax"), peers={"equinox": "equinox", "flax": "flax.nnx"}
    )
    yield imported("opax", limit=("optax", "optax"))
    yield imported("torch2jax_bridge", limit=("torch and jax", "torch, jax"))


def imported(
    name: str, limit: tuple[str, str] | None = None, peers: dict[str, str] | None = None
) -> Case:
    return Case(
        suite="end_to_end",
        case=f"import-{name}",
        metric="import time",
        unit="ms",
        self_measured=True,
        ours=partial(import_time, name),
        peers={peer: partial(import_time, modules) for peer, modules in (peers or {}).items()},
        limit=(limit[0], partial(import_time, limit[1])) if limit else None,
    )


def import_time(modules: str) -> float:
    """Milliseconds that `import modules` takes in an interpreter of its own."""
    program = [sys.executable, "-I", "-c", TIMED_IMPORT.format(modules)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImportError(f"import {modules}: {done.stderr.strip().splitlines()[-1]}")
    return 1e3 * float(done.stdout)
