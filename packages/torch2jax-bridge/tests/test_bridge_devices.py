"""Several devices: shard_map, pmap and sharded arguments, in a process with four CPU devices."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("four_devices.py")
CHECKS = [
    *("shard_map", "shard_map_jit", "shard_map_unchecked", "shard_map_vmap", "shard_map_integers"),
    *("shard_map_grad", "shard_map_grad_of_shared", "shard_map_hessian", "shard_map_loss"),
    *("pmap", "jit_sharded", "jit_sharded_grad", "eager_sharded", "explicit_axes", "shardy_stays"),
    *("two_axes", "failure_is_logged", "shard_map_dropout", "pmap_dropout"),
    *("forward_passes_are_counted", "replicated_draws_are_not_taken_for_the_same"),
    "parameters_go_to_all_devices",
]


@pytest.fixture(scope="module")
def results():
    command = [sys.executable, SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("check", CHECKS)
def test_bridge_four_devices(results, check):
    assert results[check] == "ok"


def test_bridge_four_devices_every_check_is_listed(results):
    assert set(results) == set(CHECKS)
