"""Data-parallel training with pax_torch.

python examples/distributed/launch.py 2 examples/distributed/data_parallel.py
"""

import torch
import torch.distributed as dist

import pax_torch as pax


def main() -> None:
    """Train in this process, one of several."""
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    forward, params = pax.functional_module(net), pax.get_params(net)
    optimizer = pax.functional_optimizer(torch.optim.AdamW, lr=0.01)
    state = optimizer.init(params)
    for step in range(20):
        x = torch.randn(64, 8, generator=torch.Generator().manual_seed(step))
        x = x[rank::size]
        y = x.prod(1, keepdim=True)
        loss_fn = lambda params: ((forward(params, x)[0] - y) ** 2).mean()  # noqa: B023, E731
        loss, grads = pax.distributed.pmean(pax.value_and_grad(loss_fn)(params), weight=len(x))
        params, state = optimizer.step(params, grads, state)
        if rank == 0:
            print(f"step {step + 1:2}  loss {loss.item():.6f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
