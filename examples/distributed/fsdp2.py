"""Fully sharded training of a PyTorch module: pure functions of what `fully_shard` has divided.

python examples/distributed/launch.py 2 examples/distributed/fsdp2.py
"""

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import pax_torch as pax


def main() -> None:
    """Train in this process, one of several."""
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh("cpu", (size,))
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    fully_shard(net[0], mesh=mesh)
    fully_shard(net, mesh=mesh)
    forward, params = pax.functional_module(net), pax.get_params(net)  # DTensors
    optimizer = pax.functional_optimizer(torch.optim.AdamW, lr=0.01)
    state = optimizer.init(params)  # in parts, as the parameters
    for step in range(20):
        x = torch.randn(64, 8, generator=torch.Generator().manual_seed(step))
        x = x[rank::size]
        y = x.prod(1, keepdim=True)
        loss_fn = lambda params: ((forward(params, x)[0] - y) ** 2).mean()  # noqa: B023, E731
        loss, grads = pax.value_and_grad(loss_fn)(params)
        grads, _ = pax.clip_by_global_norm(grads, 10.0)
        params, state = optimizer.step(params, grads, state)
        loss = pax.distributed.pmean(loss)
        if rank == 0:
            print(f"step {step + 1:2}  loss {loss.item():.6f}")
    held = sum(leaf.to_local().numel() for leaf in params.values())
    if rank == 0:
        print(f"each process holds {held} of {sum(p.numel() for p in params.values())} parameters")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
