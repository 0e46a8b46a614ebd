"""One of several processes; `test_torch_distributed.py` starts them.

Arguments: the scenario, this process's rank, how many there are, and a file to meet at.
"""

import functools
import re
import sys
from collections import OrderedDict
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode

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
    for size_of_bucket in (0, -1, True, "25"):
        call = functools.partial(pax.distributed.psum, 1.0, bucket_bytes=size_of_bucket)
        refused(call, ValueError, "bucket_bytes of psum must be a number of bytes, 1 or more")


def contracts(rank, size):
    """Trees that differ are an error in all processes, which says where; so is an error of one."""
    tensor, sums = torch.tensor, pax.distributed.psum
    several = [
        (
            OrderedDict(a=tensor([1.0]), b=tensor([2.0])),
            OrderedDict(b=tensor([2.0]), a=tensor([1.0])),
        ),
        ({"a": tensor([1.0])}, {"z": tensor([1.0])}),
        (tensor([1.0]), tensor([1], dtype=torch.int32)),
        (torch.ones(2, 3), torch.ones(3, 2)),
        ([torch.ones(2), torch.ones(1)], [torch.ones(1), torch.ones(2)]),
        ([torch.ones(2)], [torch.ones(2), torch.ones(1)]),
    ]
    for usual, other in several:
        leaf = pax.tree_leaves_with_path(other)[-1 if len(other) > len(usual) else 0]
        place = "tree" + "".join(map(str, leaf[0]))
        message = f"rank {size - 1} has {place} ("
        refused(lambda: sums(other if rank == size - 1 else usual), ValueError, message)
    same(sums(torch.ones(1)), torch.full((1,), float(size)))
    wrong = lambda: sums(["text"] if rank == 0 else [1.0])  # noqa: E731
    text = "expected a tensor" if rank == 0 else "since rank 0 has an error: TypeError: tree[0]"
    refused(wrong, TypeError if rank == 0 else ValueError, text)
    call = sums if rank else pax.distributed.pmean
    refused(lambda: call(torch.ones(1)), ValueError, "calls pmean")
    x = torch.ones(1, requires_grad=rank == 0)
    refused(lambda: sums(x), ValueError, "psum under a derivative")
    same(sums(torch.ones(1)), torch.full((1,), float(size)))


def means(rank, size):
    """Means of large values, and of batches of unequal sizes."""
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        large = torch.full((2,), torch.finfo(dtype).max, dtype=dtype)
        same(pax.distributed.pmean(large), large)
        assert pax.distributed.pmean(0.9 * large, weight=rank + 1).isfinite().all()
    eighths = torch.full((2,), 2.0 * rank).to(torch.float8_e4m3fn)
    same(pax.distributed.pmean(eighths).float(), torch.full((2,), size - 1.0))
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(3 * size, 2, generator=draw, dtype=torch.float64)
    lengths = [0, *range(2, size), 3 * size - sum(range(2, size))]
    own = rows.split(lengths)[rank]
    mean = pax.distributed.pmean({"x": own.mean(0)}, weight=len(own))["x"]
    torch.testing.assert_close(mean, rows.mean(0))
    weight = torch.tensor(float(len(own)))
    slope = pax.grad(lambda x: pax.distributed.pmean(x, weight=weight).sum())(torch.ones(3))
    torch.testing.assert_close(slope, torch.full((3,), size * len(own) / len(rows)))
    refused(
        lambda: pax.distributed.pmean(mean, weight=0), ValueError, "weights of pmean sum to 0.0"
    )
    error = (
        (ValueError, "must not be negative") if rank == 0 else (ValueError, "rank 0 has an error")
    )
    refused(lambda: pax.distributed.pmean(mean, weight=-1 if rank == 0 else 1), *error)


def clipped(rank, size):
    """The norm of all parts, as of `torch.nn.utils.clip_grad_norm_`."""
    mesh, draw = init_device_mesh("cpu", (size,)), torch.Generator().manual_seed(1)
    whole = [torch.randn(5, 3, generator=draw), torch.randn(4, generator=draw), torch.ones(2)]
    kinds = [Shard(0), Replicate(), None]
    spread = [
        x if k is None else distribute_tensor(x, mesh, [k])
        for x, k in zip(whole, kinds, strict=True)
    ]
    for most in (1.0, 100.0):
        params = [torch.nn.Parameter(torch.zeros_like(x)) for x in whole]
        for param, x in zip(params, whole, strict=True):
            param.grad = x.clone()
        norm = torch.nn.utils.clip_grad_norm_(params, most)
        got, found = pax.clip_by_global_norm(spread, most)
        assert [getattr(x, "placements", None) for x in got] == [
            getattr(x, "placements", None) for x in spread
        ]
        full = [x.full_tensor() if hasattr(x, "full_tensor") else x for x in got]
        torch.testing.assert_close([*full, found], [*(p.grad for p in params), norm])
    parts = torch.arange(8.0).chunk(size)
    norm = pax.clip_by_global_norm([parts[rank]], 1.0, group=dist.group.WORLD)[1]
    torch.testing.assert_close(norm, torch.arange(8.0).norm())


def fully_sharded(rank, size):
    """A module with `fully_shard` as a pure function, trained as FSDP trains it."""
    mesh = init_device_mesh("cpu", (size,))
    draw = torch.Generator().manual_seed(2)
    x, y = torch.randn(4 * size, 5, generator=draw), torch.randn(4 * size, 3, generator=draw)
    x, y = x[4 * rank : 4 * rank + 4], y[4 * rank : 4 * rank + 4]
    nn = torch.nn

    def make(**options):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.LayerNorm(7), nn.Linear(7, 3))
        for part in (net[0], net):
            fully_shard(part, mesh=mesh, **options)
        return net

    for cls, options in OPTIMIZERS[:2]:
        peer, net = make(), make()
        with torch.no_grad():
            net(x)  # which leaves the parameters whole
        forward, params = pax.functional_module(net), pax.get_params(net)
        loss = pax.value_and_grad(lambda params: ((forward(params, x)[0] - y) ** 2).mean())
        theirs, ours = cls(peer.parameters(), **options), pax.functional_optimizer(cls, **options)
        state = ours.init(params)
        for _ in range(3):
            theirs.zero_grad()
            expected = ((peer(x).clone() - y) ** 2).mean()
            expected.backward()
            theirs.step()
            value, grads = loss(params)
            with CommDebugMode() as counted:
                params, state = ours.step(params, grads, state)
            assert counted.get_total_counts() == 0
            assert value == expected
        for name, param in peer.named_parameters():
            assert params[name].placements == grads[name].placements == param.placements
            same(params[name].to_local(), param.detach().to_local())
        held = [leaf for leaf in pax.tree_leaves(state) if leaf.dim()]
        assert {leaf.placements for leaf in held} == {(Shard(0),)}
        with CommDebugMode() as counted:
            loss(params)
        counts = sorted(str(name) for name in counted.get_comm_counts())
        assert counted.get_total_counts() == 4, counts  # to and fro for each `fully_shard`
        peer(x).sum().backward()  # what was converted still works
    plain = {name: param.full_tensor() for name, param in params.items()}
    refused(lambda: forward(plain, x), ValueError, "is a plain tensor, and the module")
    mixed = MixedPrecisionPolicy(param_dtype=torch.bfloat16)
    refused(
        lambda: pax.functional_module(make(mp_policy=mixed)),
        TypeError,
        "MixedPrecisionPolicy(param",
    )
    refused(
        lambda: pax.vmap(forward, (None, 0))(params, x), TypeError, "cannot be called inside vmap"
    )
    compiled_loss = pax.jit(lambda params: forward(params, x)[0].sum(), backend="eager")
    refused(lambda: compiled_loss(params), TypeError, "takes the local part of a DTensor")
    for transform in (pax.jacfwd, pax.hessian):
        of_params = transform(lambda params: forward(params, x)[0].sum())
        refused(lambda d=of_params: d(params), TypeError, "which PyTorch has no forward mode for")
    columns, inputs = nn.Linear(8, 8), torch.randn(4, 8, generator=draw) + rank
    fully_shard(columns, mesh=mesh, shard_placement_fn=lambda param: Shard(param.dim() - 1))
    (columns(inputs).clone() ** 2).mean().backward()
    of_columns = pax.functional_module(columns)
    found = pax.grad(lambda params: (of_columns(params, inputs)[0] ** 2).mean())(
        pax.get_params(columns)
    )
    for name, param in columns.named_parameters():
        assert found[name].placements == param.grad.placements
        torch.testing.assert_close(found[name].to_local(), param.grad.to_local())


def wrapped(rank, size):
    """Modules that average gradients themselves are refused with the line to write; it is right."""
    torch.manual_seed(0)
    net, x, y = torch.nn.Linear(4, 2), torch.randn(BATCH, 4), torch.randn(BATCH, 2)
    own = slice(rank * BATCH // size, (rank + 1) * BATCH // size)
    ddp = torch.nn.parallel.DistributedDataParallel(net)
    refused(
        lambda: pax.functional_module(ddp), TypeError, "`forward = functional_module(ddp.module)`"
    )
    nested = torch.nn.Sequential(ddp)
    refused(lambda: pax.functional_module(nested), TypeError, "submodule '0', a Distributed")
    ((ddp(x[own]) - y[own]) ** 2).mean().backward()
    forward = pax.functional_module(ddp.module)
    loss = lambda p: ((forward(p, x[own])[0] - y[own]) ** 2).mean()  # noqa: E731
    grads = pax.distributed.pmean(pax.grad(loss)(pax.get_params(ddp.module)))
    for name, param in net.named_parameters():
        torch.testing.assert_close(grads[name], param.grad)


def placements(rank, size):
    """Gradients and states lie as their parameters do, and a step sends nothing."""
    mesh = init_device_mesh("cpu", (size,))
    loss, params, x, y = problem()
    spread = {k: distribute_tensor(v, mesh, [Shard(0)]) for k, v in params.items()}
    xs, ys = (distribute_tensor(t, mesh, [Shard(0)]) for t in (x, y))
    grads = pax.grad(loss)(spread, xs, ys)
    assert {g.placements for g in grads.values()} == {(Shard(0),)}
    whole = {k: g.redistribute(placements=[Replicate()]) for k, g in grads.items()}
    optimizer = pax.functional_optimizer(torch.optim.SGD, lr=0.1, momentum=0.9)
    with CommDebugMode() as counted:
        state = optimizer.step(spread, grads, optimizer.init(spread))[1]
        also = optimizer.step(spread, whole, optimizer.init(spread))[1]
    assert counted.get_total_counts() == 0
    assert {leaf.placements for leaf in pax.tree_leaves([state, also])} == {(Shard(0),)}
    plain = {k: g.full_tensor() for k, g in grads.items()}
    step = lambda: optimizer.step(spread, plain, optimizer.init(spread))  # noqa: E731
    refused(step, ValueError, "grads['0.bias'] is a plain tensor, but its parameter is a DTensor")
    primal = (spread["0.weight"],)
    refused(lambda: pax.jvp(torch.sum, primal, primal), TypeError, "argument 0 is a DTensor")


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
    contracts,
    means,
    clipped,
    wrapped,
    fully_sharded,
    placements,
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
