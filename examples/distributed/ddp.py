"""Data-parallel training with DistributedDataParallel.

python examples/distributed/launch.py 2 examples/distributed/ddp.py
"""

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def main() -> None:
    """Train in this process, one of several."""
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    net = DistributedDataParallel(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    for step in range(20):
        x = torch.randn(64, 8, generator=torch.Generator().manual_seed(step))
        x = x[rank::size]
        y = x.prod(1, keepdim=True)
        loss = ((net(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss = loss.detach() / size
        dist.all_reduce(loss)
        if rank == 0:
            print(f"step {step + 1:2}  loss {loss.item():.6f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
