"""The example of fully sharded training, in which process 1 is killed.

    python killed_worker.py step|save NUMBER FOLDER

XLA and the processes are set up as `examples/distributed/launch.py` does.
"""

import os
import signal
import sys
from argparse import Namespace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "distributed"))

import fsdp_jax

import pax_jax as pax


def main(where, number, folder):
    shard_batch, save = pax.sharding.shard_batch, pax.checkpoint.Checkpoints.save
    begun = []

    def die():
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)

    def begin(*args):
        batch = shard_batch(*args)
        begun.append(batch)
        if where == "step" and len(begun) == number:
            die()  # while the other process runs the step
        return batch

    def save_begun(self, step, tree):
        if where == "save" and step == number:
            die()  # while the other process waits for its part of the checkpoint
        return save(self, step, tree)

    pax.sharding.shard_batch, pax.checkpoint.Checkpoints.save = begin, save_begun
    fsdp_jax.main(Namespace(devices=4, steps=6, folder=folder))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
