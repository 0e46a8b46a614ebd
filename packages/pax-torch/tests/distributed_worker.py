"""One of several processes; `test_torch_distributed.py` starts them.

Arguments: the scenario, this process's rank, how many there are, and a file to meet at.
"""

import re
import sys
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

import pax_torch as pax

BATCH = 16
STEPS = 20


def sums(rank, size):
    """Sums and means of trees of several types, in buckets of every size."""
    total = size * (size - 1) // 2
    tree = {
        "bool": torch.tensor([True, rank == 0]),
        "double": [torch.full((3,), float(rank), dtype=torch.float64), None],
        "empty": torch.zeros(0),
        "float": [torch.arange(6.0).reshape(2, 3).t() * rank, torch.tensor(float(rank))],
        "int": torch.tensor([rank, 1]),
        "number": 2.0 * rank,
    }
    before = pax.tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, tree)
    for bucket_bytes in (1, 30, 10**6):
        summed = pax.distributed.psum(tree, bucket_bytes=bucket_bytes)
        expected = {
            "bool": torch.tensor([size, 1]),
            "double": [torch.full((3,), float(total), dtype=torch.float64), None],
            "empty": torch.zeros(0),
            "float": [torch.arange(6.0).reshape(2, 3).t() * total, torch.tensor(float(total))],
            "int": torch.tensor([total, size]),
            "number": torch.tensor(2.0 * total),
        }
        same(summed, expected)
        mean = pax.distributed.pmean(tree, bucket_bytes=bucket_bytes)
        same(mean, pax.tree_map(lambda x: x / size, expected))
    same(tree, before)


def integers(rank, size):
    """Types that do not travel as they are; they wrap as they do in one process."""
    for dtype in (torch.int16, torch.uint8, torch.uint16, torch.uint32, torch.uint64):
        largest = min(torch.iinfo(dtype).max, 2**63 - 1)
        value = torch.tensor([rank, largest]).to(dtype)
        total = torch.tensor([size * (size - 1) // 2, largest]) * torch.tensor([1, size])
        same(pax.distributed.psum([value]), [total.to(dtype)])
        mean = pax.distributed.pmean([value[:1]])
        same(mean, [torch.tensor([(size - 1) / 2])])


def memory(rank, size):
    """Each result has memory of its own, which may be changed."""
    x = torch.ones(2, requires_grad=True)
    for tree in ([x], [x, torch.ones(1000)], [x, 2 * x]):
        result = pax.distributed.psum(tree)[0]
        assert result.untyped_storage().nbytes() == 8
        result.mul_(2)
        same(result.detach(), torch.full((2,), 2.0 * size))


def compiled(rank, size):
    """Sums, their gradients and a data-parallel step as parts of a compiled program."""
    tree = {
        "complex": torch.tensor([1j * rank]),
        "float": torch.arange(3.0) * rank,
        "int": torch.tensor([rank, 1], dtype=torch.int16),
    }
    for reduce in (pax.distributed.psum, pax.distributed.pmean):
        same(pax.jit(reduce, backend="eager")(tree), reduce(tree))
    x = torch.tensor([1.0, 2.0], dtype=torch.float64) + rank
    slope = pax.grad(lambda x: (pax.distributed.psum(x * (rank + 1)) ** 3).sum())
    same(pax.jit(slope, backend="eager")(x), slope(x))
    loss, params, x, y = problem()
    own = slice(rank * BATCH // size, (rank + 1) * BATCH // size)
    optimizer = pax.functional_optimizer(torch.optim.SGD, lr=0.1, momentum=0.9)
    step = lambda params, x, y: pax.distributed.pmean(pax.grad(loss)(params, x, y))  # noqa: E731
    for backend in ("eager", "inductor"):
        compiled_step = pax.jit(step, backend=backend)
        together, state = params, optimizer.init(params)
        for _ in range(STEPS):
            grads = compiled_step(together, x[own], y[own])
            together, state = optimizer.step(together, grads, state)
        torch.testing.assert_close(together, trained(optimizer, loss, params, x, y))


def gradient(rank, size):
    """The gradient of a sum over processes is the sum of their gradients, to any order."""

    def loss(x):
        return (pax.distributed.psum({"x": x * (rank + 1)})["x"] ** 3).sum()

    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    total = size * (size + 1) / 2
    # Each process differentiates the sum of the losses of all.
    same(pax.grad(loss)(x), size * (rank + 1) * 3 * total**2 * x**2)


def group(rank, size):
    """Only the members of a group take part."""
    groups = [dist.new_group(list(range(i, size, 2))) for i in range(2)]
    members = range(rank % 2, size, 2)
    value = pax.distributed.pmean({"x": torch.tensor(float(rank))}, groups[rank % 2])
    same(value, {"x": torch.tensor(sum(members) / len(members))})
    for reduce in (pax.distributed.psum, pax.distributed.pmean):
        call = lambda: reduce(torch.ones(1), groups[1 - rank % 2])  # noqa: E731
        refused(call, ValueError, f"process {rank} is not in the one given")


def problem():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    forward, params = pax.functional_module(net), pax.get_params(net)
    x, y = torch.randn(BATCH, 4), torch.randn(BATCH, 2)

    def loss(params, x, y):
        return ((forward(params, x)[0] - y) ** 2).mean()

    return loss, params, x, y


OPTIMIZERS = [
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (torch.optim.AdamW, {"lr": 0.01, "amsgrad": True}),
    (torch.optim.Adagrad, {"lr": 0.1}),
    (torch.optim.RMSprop, {"lr": 0.01, "momentum": 0.5}),
]


def trained(optimizer, loss, params, x, y, reduce=lambda grads: grads):
    state = optimizer.init(params)
    for _ in range(STEPS):
        grads = reduce(pax.grad(loss)(params, x, y))
        params, state = optimizer.step(params, grads, state)
    return params


def data_parallel(rank, size):
    """Each process with its share of the batch, as one process with all of it."""
    loss, params, x, y = problem()
    for cls, options in OPTIMIZERS:
        for donate in (False, True):
            optimizer = pax.functional_optimizer(cls, donate=donate, **options)
            alone = trained(pax.functional_optimizer(cls, **options), loss, params, x, y)
            own = slice(rank * BATCH // size, (rank + 1) * BATCH // size)
            start = pax.tree_clone(params)
            together = trained(optimizer, loss, start, x[own], y[own], pax.distributed.pmean)
            torch.testing.assert_close(together, alone)


def sharded(rank, size):
    """The same code on parameters that are spread over the processes."""
    mesh = init_device_mesh("cpu", (size,))
    loss, params, x, y = problem()
    spread = lambda: {  # noqa: E731
        name: distribute_tensor(p, mesh, [Shard(0) if p.shape[0] % size == 0 else Replicate()])
        for name, p in params.items()
    }
    xs, ys = (distribute_tensor(t, mesh, [Shard(0)]) for t in (x, y))
    for cls, options in OPTIMIZERS:
        alone = trained(pax.functional_optimizer(cls, **options), loss, params, x, y)
        for donate in (False, True):
            start = spread()
            optimizer = pax.functional_optimizer(cls, donate=donate, **options)
            together = trained(optimizer, loss, start, xs, ys)
            for name, p in together.items():
                assert p.placements == start[name].placements, (name, p.placements)
                torch.testing.assert_close(p.full_tensor(), alone[name])
    refused(lambda: pax.distributed.psum(spread()), TypeError, "is a DTensor")


def errors(rank, size):
    sparse = {"x": [torch.eye(2).to_sparse()]}
    refused(lambda: pax.distributed.psum(sparse), TypeError, "tree['x'][0] is of layout")
    mapped = pax.vmap(pax.distributed.pmean)
    refused(lambda: mapped(torch.ones(2)), TypeError, "cannot be called inside vmap")
    refused(lambda: pax.distributed.psum(["text"]), TypeError, "tree[0]: expected a tensor")


def refused(call, kind, message):
    with pytest.raises(kind, match=re.escape(message)):
        call()


def same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=0)


SCENARIOS = [
    sums,
    integers,
    memory,
    gradient,
    group,
    data_parallel,
    compiled,
    sharded,
    errors,
]


def main(rank, size, meeting):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=60),
    )
    for scenario in SCENARIOS:
        scenario(rank, size)
        print("passed", scenario.__name__, flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
