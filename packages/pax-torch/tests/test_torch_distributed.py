"""pax_torch.distributed in real processes, which meet through a file and talk over loopback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import pax_torch as pax
from pax_torch.distributed._reduce import buckets

WORKER = Path(__file__).with_name("distributed_worker.py")
SECONDS = 240


def run_workers(size, meeting):
    """Starts the processes and returns their exit codes and what they said; ends all that hang."""
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(WORKER)]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(size), str(meeting)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(size)
    ]
    try:
        said = [process.communicate(timeout=SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [process.returncode for process in processes], said


@pytest.mark.parametrize("size", [2, 4])
def test_processes(size, tmp_path):
    codes, said = run_workers(size, tmp_path / "meeting")
    assert codes == [0] * size, "\n".join(said)
    scenarios = ["sums", "integers", "memory", "gradient", "group"]
    scenarios += ["data_parallel", "compiled", "sharded", "errors", "contracts", "means"]
    scenarios += ["clipped", "wrapped", "fully_sharded", "placements"]
    for text in said:
        assert [line.split()[1] for line in text.splitlines() if "passed" in line] == scenarios


def test_a_bucket_is_on_one_device():
    with FakeTensorMode():
        tensors = [torch.empty(1, device=f"cuda:{i % 2}") for i in range(4)]
        assert sorted(buckets(tensors, 100)) == [[0, 2], [1, 3]]


@pytest.mark.parametrize("name", ["psum", "pmean"])
def test_without_processes(name):
    with pytest.raises(RuntimeError, match=f"{name} needs processes to reduce over"):
        getattr(pax.distributed, name)(torch.ones(1))
