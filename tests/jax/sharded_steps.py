"""Train steps of the Transformer, spread over devices in several ways; prints what came out.

    python jax_sharded_steps.py                       one process with 8 devices
    python jax_sharded_steps.py RANK PORT DIRECTORY   one of two processes with 2 devices each
    python jax_sharded_steps.py RANK PORT             one of two processes with a device each

XLA_FLAGS says how many devices a process has; the tests set it.
"""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils

import pax_jax as pax
from pax_jax._storage import reading

STEPS = 2


class Model(pax.Module):
    def __init__(self):
        super().__init__()
        self.embed = pax.Embed(32, 16)
        self.body = pax.nets.Transformer(16, 4, 1, dropout_rate=0.1)
        self.head = pax.Linear(16, 32)

    def __call__(self, tokens):
        return self.head(self.body(self.embed(tokens)))


def make():
    pax.seed_rng_key(0)
    model = Model()
    return model, pax.optim.from_optax(optax.adamw(1e-2, eps=1e-3))(model.parameters())


def batches():
    draw = np.random.default_rng(0)
    return [draw.integers(0, 32, (8, 7)).astype(np.int32) for _ in range(STEPS)]


def step(model, optimizer, tokens):
    def loss_fn(params, model):
        model = model.update(params)
        logits = model(tokens[:, :-1])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
        return losses.mean(), model

    (loss, model), grads = jax.value_and_grad(loss_fn, has_aux=True)(model.parameters(), model)
    return loss, optimizer.step(grads, model), optimizer


def train(places=None, mesh=None, local=slice(None)):
    """Return the losses, model and optimizer after some steps, placed as `places` says."""
    state = make()
    run = jax.jit(step)
    if mesh is not None:
        layout = places(state, mesh)
        state = pax.sharding.shard(state, layout)
        run = jax.jit(step, out_shardings=(None, *layout))
    losses = []
    for tokens in batches():
        if mesh is not None:
            tokens = pax.sharding.shard_batch(tokens[local], mesh)
        loss, *state = run(*state, tokens)
        losses.append(float(loss))
    return losses, state


def spread(state):
    """Return how much of all arrays of the model one device holds, 0 to 1."""
    arrays = jax.tree.leaves(state[0].parameters())
    held = sum(array.addressable_shards[0].data.size for array in arrays)
    return held / sum(array.size for array in arrays)


def distance(state, other):
    pairs = zip(*(jax.tree.leaves(s[0].parameters()) for s in (state, other)), strict=True)
    return max(float(jnp.max(jnp.abs(np.asarray(a) - np.asarray(b)))) for a, b in pairs)


def in_one_process():
    rules = pax.sharding.transformer_rules()
    ways = {
        "data parallel": ((8, 1), pax.sharding.shardings),
        "fsdp": ((8, 1), lambda state, mesh: pax.sharding.fsdp(state, mesh, min_size=64)),
        "tensor parallel": ((2, 4), lambda state, mesh: pax.sharding.shardings(state, mesh, rules)),
        "all": (
            (2, 4),
            lambda state, mesh: pax.sharding.fsdp(state, mesh, rules=rules, min_size=64),
        ),
    }
    expected, reference = train()
    for name, (shape, places) in ways.items():
        mesh = jax.make_mesh(shape, ("data", "model"))
        losses, state = train(places, mesh)
        report = {"losses": losses, "distance": distance(state, reference), "held": spread(state)}
        print(json.dumps({"way": name, "expected": expected, **report}))


def batch_norm():
    """Print how far normalization over 8 replicas is from that of the whole batch."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec
    x = jnp.asarray(np.random.default_rng(0).standard_normal((32, 2)), jnp.float32)
    run = jax.shard_map(
        lambda norm, x: norm % x,
        mesh=mesh,
        in_specs=(spec(), spec("data")),
        out_specs=(spec(), spec("data")),
    )
    replicas = jax.tree.leaves(jax.jit(run)(pax.BatchNorm1D(2, cross_replica_axis="data"), x))
    whole = jax.tree.leaves(pax.BatchNorm1D(2) % x)
    pairs = zip(replicas, whole, strict=True)
    distance = max(float(jnp.max(jnp.abs(np.asarray(a) - np.asarray(b)))) for a, b in pairs)
    print(json.dumps({"way": "batch norm", "distance": distance}))


def contracts(rank, port):
    """Print what each call says that is given other things in two processes of one device each."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)
    rows, spec = np.arange(8.0, dtype=np.float32).reshape(4, 2), jax.sharding.PartitionSpec
    own, data = rows[2 * rank : 2 * rank + 2], jax.make_mesh((2,), ("data",))
    across = jax.make_mesh((2, 1), ("model", "data"))
    batch = lambda x, mesh=data, **options: pax.sharding.shard_batch(x, mesh, **options)  # noqa: E731
    calls = {
        "rows of others": lambda: batch(own, across),
        "same rows": lambda: batch(rows, across).sum(),
        "uneven": lambda: batch(rows[: 1 + rank]),
        "other dtype": lambda: batch({"x": rows, "y": rows.astype(int) if rank else rows}),
        "other key": lambda: batch({"x": rows} if rank else {"z": rows}),
        "a number": lambda: batch(rows[0, 0] if rank else rows),
        "even": lambda: batch(own).sum(),
        "other values": lambda: pax.sharding.shard([jnp.full(2, rank)], data),
        "same values": lambda: [
            s.data.tolist() for s in pax.sharding.shard([jnp.ones(2)], data)[0].addressable_shards
        ],
        "keys": lambda: (
            jax.random.key_data(pax.sharding.shard(jax.random.key(0), data)).is_fully_replicated
        ),
        "parts": lambda: [
            s.data.tolist()
            for s in pax.sharding.shard(rows, data, [("", spec("data"))]).addressable_shards
        ],
        "absent": lambda: batch(own, timeout=0.5) if rank == 0 else None,
    }
    said = {}
    for name, call in calls.items():
        try:
            said[name] = str(call())
        except (ValueError, RuntimeError) as error:
            said[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(said))
    jax.distributed.shutdown()


def in_two_processes(rank, port, directory):
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)
    mesh = jax.make_mesh((4,), ("data",))
    layout = lambda state, mesh: pax.sharding.fsdp(state, mesh, min_size=64)  # noqa: E731
    losses, state = train(layout, mesh, slice(4 * rank, 4 * rank + 4))
    with pax.checkpoint.Checkpoints(directory) as checkpoints:
        checkpoints.save(STEPS, state)
        checkpoints.wait()
        like = list(make())
        like = pax.sharding.shard(like, layout(like, mesh))
        loaded = checkpoints.load(like)
    pairs = zip(jax.tree.leaves(state), jax.tree.leaves(loaded), strict=True)
    same = all(
        a.sharding == b.sharding and bool(jax.jit(lambda a, b: jnp.all(a == b))(a, b))
        for a, b in pairs
    )
    print(
        json.dumps({"losses": losses, "held": spread(state), "loaded the same": same}), flush=True
    )
    print(json.dumps(damaged(rank, directory, like)))
    jax.distributed.shutdown()


def damaged(rank, directory, like):
    """Return what both processes say where one finds flipped bits, and where another tree is given to one."""
    said, numbers = {}, reading.local_checksum
    checkpoints = pax.checkpoint.Checkpoints(directory)
    for number in range(2):  # a bit in what a process reads, or a file that cannot be read in one
        reading.local_checksum = lambda array, n=number: numbers(array) ^ 4 * (rank == n)
        said[f"flipped in process {number}"] = text_of(lambda: checkpoints.load(like))
    reading.local_checksum = numbers
    files = [x for x in (Path(directory) / str(STEPS) / "arrays").rglob("d/*") if x.is_file()]
    multihost_utils.sync_global_devices("listed")
    for file in files if rank == 0 else ():
        whole = bytearray(file.read_bytes())
        whole[::50] = bytes(byte ^ 4 for byte in whole[::50])
        file.write_bytes(whole)
    multihost_utils.sync_global_devices("damaged")
    said["flipped in the files"] = text_of(lambda: checkpoints.load(like))
    mesh = jax.make_mesh((4,), ("x",))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    small = pax.sharding.shard({"a": jnp.ones(3)}, mesh)
    with pax.checkpoint.Checkpoints(f"{directory} of 3") as others:
        others.save(0, small)
        uneven = {"a": jax.ShapeDtypeStruct((3,), jnp.float32, sharding=place)}
        said["other sharding"] = text_of(lambda: others.load(uneven))
        wrong = {"b": small["a"]} if rank else small
        said["other tree in process 1"] = text_of(lambda: others.load(wrong))
    return said


def text_of(call):
    try:
        call()
    except ValueError as error:
        return str(error)
    return "loaded"


if __name__ == "__main__":
    if len(sys.argv) == 1:
        in_one_process()
        batch_norm()
    elif len(sys.argv) == 3:
        contracts(int(sys.argv[1]), sys.argv[2])
    else:
        in_two_processes(int(sys.argv[1]), sys.argv[2], sys.argv[3])
