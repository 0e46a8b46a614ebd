"""Optimizers on 8 devices, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("opax_sharded_steps.py")


def test_states_are_spread_as_their_parameters_and_steps_are_those_of_one_device():
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT)],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 11
