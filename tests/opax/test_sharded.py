"""Optimizers on 8 devices, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.opax import sharded_steps

SCRIPT = Path(__file__).with_name("sharded_steps.py")


def test_states_are_spread_as_their_parameters_and_steps_are_those_of_one_device(record_property):
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
    assert done.stdout.split() == [name for _, name in sharded_steps.names()]
    record_property("optimizers on 8 devices", len(done.stdout.split()))
