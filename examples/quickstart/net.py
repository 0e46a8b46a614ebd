"""The PyTorch network that `train_torch.py` trains in PyTorch and `train_mixed.py` inside JAX."""

import torch
from torch import nn

# More threads do not make a network this small faster, and on a busy machine they wait for each
# other in every layer.
torch.set_num_threads(1)


def make_net(seed: int) -> nn.Module:
    """Make an ordinary torch module: images (n, 1, 8, 8) to logits (n, 10)."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, stride=2),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )
