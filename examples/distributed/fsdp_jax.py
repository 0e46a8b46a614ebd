"""Fully sharded training with pax_jax, on all devices of one process or of several, that can be continued.

python examples/distributed/fsdp_jax.py                                  8 devices in one process
python examples/distributed/launch.py 2 examples/distributed/fsdp_jax.py --devices 4
python examples/distributed/fsdp_jax.py --folder DIRECTORY               saves, and goes on from there

The same command with `--folder` and another number of processes goes on where the last one has ended.
"""

import argparse
import functools
import os

import numpy as np


def arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=8, help="devices of each process")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--folder", help="where checkpoints are, and are looked for")
    return parser.parse_args()


def main(options: argparse.Namespace) -> None:
    """Train on the devices of this process, and of the others."""
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} "
        f"--xla_force_host_platform_device_count={options.devices}"
    )
    import jax
    import reversal

    import pax_jax as pax

    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if size > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        jax.distributed.initialize(address, num_processes=size, process_id=rank)
    mesh = jax.make_mesh((jax.device_count(),), ("data",))

    make = functools.partial(reversal.make, 16, 2)
    # The shapes alone say where everything goes; each array is made where it belongs.
    layout = pax.sharding.fsdp(jax.eval_shape(make), mesh, min_size=64)
    net, optimizer = jax.jit(make, out_shardings=layout)()

    run = jax.jit(reversal.step, out_shardings=(None, *layout))
    checkpoints = pax.checkpoint.Checkpoints(options.folder) if options.folder else None
    first = 0
    if checkpoints is not None and checkpoints.steps:
        first = checkpoints.steps[-1]
        net, optimizer = checkpoints.load((net, optimizer))
    for number in range(first, options.steps):
        rows = np.random.default_rng(number).standard_normal((16, 4, 16)).astype(np.float32)
        own = rows[rank * 16 // size : (rank + 1) * 16 // size]
        loss, net, optimizer = run(net, optimizer, pax.sharding.shard_batch(own, mesh))
        if rank == 0:
            print(f"step {number + 1}  loss {float(loss):.6f}", flush=True)
        if checkpoints is not None:
            checkpoints.save(number + 1, (net, optimizer))
    if checkpoints is not None:
        checkpoints.wait()
    if rank == 0:
        print(
            pax.sharding.report(net, mesh, fsdp_axis="data", min_size=64).bytes, "bytes per device"
        )
    if size > 1:
        jax.distributed.shutdown()


if __name__ == "__main__":
    main(arguments())
