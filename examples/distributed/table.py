"""Tables of trainings in several processes beside one device: loss, memory and collectives.

python examples/distributed/table.py                    both tables
python examples/distributed/table.py --jax 1x8 2x4      processes x devices of each
python examples/distributed/table.py --torch 2 4        processes

Of each way it prints the largest difference of the loss from that of one device over some steps, the bytes
of parameters and optimizer state that a device holds, and how many collectives a step has.
"""

import argparse
import functools
import json
import os
import re
import sys
import warnings
from pathlib import Path

import launch
import numpy as np

STEPS = 3
LAYOUTS = ["1x8", "2x4", "4x2", "8x1"]


def main() -> None:
    """Print the tables, or, in one of the processes, the results of that."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jax", nargs="*", help="layouts such as 2x4")
    parser.add_argument("--torch", nargs="*", help="numbers of processes")
    parser.add_argument("--worker", choices=["jax", "torch"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        (jax_worker if options.worker == "jax" else torch_worker)()
        return
    neither = options.jax is None and options.torch is None
    failed = 0
    for layout in LAYOUTS if neither or options.jax == [] else options.jax or []:
        count, devices = layout.split("x")
        flags = f"--xla_force_host_platform_device_count={devices}"
        failed |= start("jax", int(count), layout, XLA_FLAGS=flags, JAX_PLATFORMS="cpu")
    for count in ["2", "4"] if neither or options.torch == [] else options.torch or []:
        failed |= start("torch", int(count), f"{count} processes")
    sys.exit(failed)


def start(kind: str, count: int, title: str, **variables: str) -> int:
    """Print the table of one layout."""
    print(
        f"\n{title} ({kind})\n{'way':28} {'loss difference':>16} {'bytes':>10}  collectives",
        flush=True,
    )
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [str(Path(__file__)), "--worker", kind]
    return launch.wait(launch.launch(count, command, **quiet, **variables))


def show(way: str, losses: list[float], expected: list[float], held: int, counts: dict) -> None:
    """Print one line, in the first process."""
    if os.environ["RANK"] == "0":
        difference = max(abs(a - b) for a, b in zip(losses, expected, strict=True))
        print(f"{way:28} {difference:16.1e} {held:10,}  {json.dumps(counts)}", flush=True)


def jax_worker() -> None:
    """Train a small Transformer in each way."""
    import jax
    import reversal

    import pax_jax as pax

    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if size > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        jax.distributed.initialize(address, num_processes=size, process_id=rank)

    make = functools.partial(reversal.make, 32, 4)
    rows = np.random.default_rng(0).standard_normal((8, 4, 32)).astype(np.float32)
    state, expected, run = make(), [], jax.jit(reversal.step)
    for _ in range(STEPS):
        loss, *state = run(*state, rows)
        expected.append(float(loss))
    with jax.enable_x64(True):  # how far the rounding of single precision alone goes
        state = jax.tree.map(lambda x: x.astype(float) if x.dtype == np.float32 else x, make())
        losses = []
        for _ in range(STEPS):
            loss, *state = run(*state, rows.astype(float))
            losses.append(float(loss))
        held = sum(a.nbytes for a in jax.tree.leaves(state))
        show("one device in float64", losses, expected, held, {})
    rules, place = pax.sharding.transformer_rules(), pax.sharding
    ways = {
        "DP": ((8, 1), lambda s, mesh: place.shardings(s, mesh)),
        "FSDP": ((8, 1), lambda s, mesh: place.fsdp(s, mesh, min_size=256)),
        "TP": ((2, 4), lambda s, mesh: place.shardings(s, mesh, rules)),
        "FSDP+TP": ((2, 4), lambda s, mesh: place.fsdp(s, mesh, rules=rules, min_size=256)),
    }
    for way, (shape, layout_of) in ways.items():
        mesh = jax.make_mesh(shape, ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
        layout = layout_of(jax.eval_shape(make), mesh)
        state = jax.jit(make, out_shardings=layout)()
        batch = place.shard_batch(own_rows(rows, mesh, rank), mesh)
        program = (
            jax.jit(reversal.step, out_shardings=(None, *layout)).lower(*state, batch).compile()
        )
        losses = []
        for _ in range(STEPS):
            loss, *state = program(*state, batch)
            losses.append(float(loss))
        held = sum(a.addressable_shards[0].data.nbytes for a in jax.tree.leaves(state))
        names = (
            r" (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
        )
        found = re.findall(names, program.as_text())
        show(way, losses, expected, held, {name: found.count(name) for name in sorted(set(found))})
    if size > 1:
        jax.distributed.shutdown()


def own_rows(rows: np.ndarray, mesh, rank: int) -> np.ndarray:
    """Return the rows of the devices of this process, along the first axis of the mesh."""
    parts = [i for i, line in enumerate(mesh.devices) if any(d.process_index == rank for d in line)]
    each = len(rows) // len(mesh.devices)
    return np.concatenate([rows[i * each : (i + 1) * each] for i in parts])


def torch_worker() -> None:
    """Train a small net as DDP and FSDP2 do, and by pure functions."""
    warnings.simplefilter("ignore")
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.debug import CommDebugMode
    from torch.nn.parallel import DistributedDataParallel

    import pax_torch as pax

    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    mesh, adamw = init_device_mesh("cpu", (size,)), torch.optim.AdamW
    draw = torch.Generator().manual_seed(0)
    xs, ys = torch.randn(16, 32, generator=draw), torch.randn(16, 32, generator=draw)
    x, y = xs[rank::size], ys[rank::size]

    def make(sharded: bool = False):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.Tanh(), torch.nn.Linear(64, 32))
        for part in (net[0], net) if sharded else ():
            fully_shard(part, mesh=mesh)
        return net

    def functional(net, x, y, reduce):
        forward, params = pax.functional_module(net), pax.get_params(net)
        optimizer = pax.functional_optimizer(adamw, lr=0.01)
        state, losses = optimizer.init(params), []
        loss_fn = pax.value_and_grad(lambda params: ((forward(params, x)[0] - y) ** 2).mean())
        for _ in range(STEPS):
            with CommDebugMode() as counted:
                loss, grads = loss_fn(params)
                params, state = optimizer.step(params, reduce(grads), state)
            losses.append(loss)
        return losses, [params, state], counted

    def stateful(net):
        optimizer, losses = adamw(net.parameters(), lr=0.01), []
        for _ in range(STEPS):
            with CommDebugMode() as counted:
                loss = ((net(x).clone() - y) ** 2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            losses.append(loss.detach())
        return losses, [list(net.parameters()), list(optimizer.state.values())], counted

    same = lambda grads: grads  # noqa: E731
    expected = [float(loss) for loss in functional(make(), xs, ys, same)[0]]
    ways = {
        "DistributedDataParallel": lambda: stateful(DistributedDataParallel(make())),
        "functional_module, pmean": lambda: functional(make(), x, y, pax.distributed.pmean),
        "fully_shard": lambda: stateful(make(sharded=True)),
        "functional_module of that": lambda: functional(make(sharded=True), x, y, same),
    }
    for way, train in ways.items():
        losses, state, counted = train()
        losses = [float(loss) for loss in pax.distributed.pmean(losses)]
        tensors = [leaf for leaf in pax.tree_leaves(state) if isinstance(leaf, torch.Tensor)]
        held = sum(getattr(leaf, "_local_tensor", leaf).nbytes for leaf in tensors)
        counts = {
            str(name).split(".")[-1].strip("'>)"): n
            for name, n in counted.get_comm_counts().items()
        }
        show(way, losses, expected, held, counts)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
