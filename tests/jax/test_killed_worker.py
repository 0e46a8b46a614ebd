"""A process that is killed in a step or in a save ends the others, and costs no more than the steps since."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("killed_worker.py")
EXAMPLES = ROOT / "examples" / "distributed"
SECONDS = 280


def run(*command):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=environment,
    )
    assert time.monotonic() - started < SECONDS
    return done, dict(re.findall(r"step (\d+)  loss (\S+)", done.stdout))


def test_training_goes_on_after_kills_and_on_another_number_of_processes(tmp_path):
    one, expected = run(EXAMPLES / "fsdp_jax.py")
    assert one.returncode == 0, one.stderr
    assert list(expected) == list("123456")
    folder, launch = tmp_path / "checkpoints", EXAMPLES / "launch.py"
    losses = {}
    for where, number in (("step", 3), ("save", 4)):
        done, found = run(launch, 2, WORKER, where, number, folder)
        assert done.returncode != 0
        losses |= found
    assert set(losses) >= set("123")
    done, found = run(EXAMPLES / "fsdp_jax.py", "--folder", folder)
    assert done.returncode == 0, done.stderr
    assert min(found, key=int) in ("3", "4")  # no complete step is computed again
    losses |= found
    assert sorted(losses) == list("123456")
    for step, loss in losses.items():
        assert abs(float(loss) - float(expected[step])) < 1e-5
