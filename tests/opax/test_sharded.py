"""Every transformation of optax saved, donated, mapped and sharded, on 8 devices in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import opax

SCRIPT = Path(__file__).with_name("sharded_steps.py")
COLUMNS = {"saved": "equal", "donated": "all", "vmapped": "equal", "sharded": "equal"}
PATHS = [
    *(f"optax.{name}" for name in sorted(opax._generated)),
    *(f"optax.contrib.{name}" for name in sorted(opax.contrib._generated)),
]


@pytest.fixture(scope="module")
def table():
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT)],
        capture_output=True,
        text=True,
        timeout=580,
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    return dict(map(json.loads, done.stdout.splitlines()))


def test_every_transformation_is_in_the_table(table):
    assert sorted(table) == sorted([*PATHS, "shard_state"])


def test_a_state_that_is_spread_takes_its_part_of_the_memory(table):
    moments, rest = 2 * 16 * 8 * 4, 2 * 3 * 4 + 4 + 4
    sizes = [moments + rest, moments // 8 + rest]
    assert table["shard_state"] == {"Auto": sizes, "Explicit": sizes}


@pytest.mark.parametrize("path", PATHS)
def test_a_transformation_is_saved_donated_mapped_and_sharded(path, table):
    expected = COLUMNS
    if path == "optax.monitor":  # whose state has another structure after its first step
        saved = "The state dict does not fit Optimizer:\n  state.measurements.norm is unknown"
        expected = {**COLUMNS, "saved": saved}
    assert table[path] == expected
