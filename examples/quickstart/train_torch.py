"""PyTorch with JAX's API: the network becomes a function of its parameters.

Nothing is changed in place: parameters, buffers (the running statistics of BatchNorm) and the
optimizer's state go into a step and come out of it.
"""

import numpy as np
import torch
from rich.console import Console
from torch.nn.functional import cross_entropy

import pax_torch as pax
from data import Digits, minibatches
from net import make_net
from training_log import Result, TrainingLog


def train(digits: Digits, epochs: int, seed: int, console: Console) -> Result:
    """Train on the training images and return what the network says of the test images."""
    net = make_net(seed)
    forward = pax.functional_module(net)
    params, buffers = pax.get_params(net), pax.get_buffers(net)

    def loss_fn(params, buffers, images, labels):
        logits, buffers = forward(params, images, buffers=buffers, is_training=True)
        return cross_entropy(logits, labels), buffers

    loss_and_grad = pax.value_and_grad(loss_fn, has_aux=True)

    steps = digits.steps(epochs)
    optimizer = pax.functional_optimizer(torch.optim.Adam, lr=0.0)  # each step brings its own
    lr_at_step = pax.functional_schedule(
        torch.optim.lr_scheduler.CosineAnnealingLR, T_max=steps, initial_lr=0.01
    )
    opt_state = optimizer.init(params)

    log = TrainingLog(console, "pax_torch", steps)
    for step, (images, labels) in enumerate(log.watch(minibatches(digits, epochs, seed))):
        images, labels = to_torch(images), torch.from_numpy(labels).long()
        (loss, buffers), grads = loss_and_grad(params, buffers, images, labels)
        params, opt_state = optimizer.step(params, grads, opt_state, lr=lr_at_step(step))
        log.record(loss)

    with torch.no_grad():
        logits, _ = forward(
            params, to_torch(digits.test_images), buffers=buffers, is_training=False
        )
    parameters = sum(leaf.numel() for leaf in pax.tree_leaves(params))
    return log.result(parameters, logits.argmax(dim=1).numpy(), digits.test_labels)


def to_torch(images: np.ndarray) -> torch.Tensor:
    """Turn images (n, 8, 8) into what torch convolutions take: (n, 1, 8, 8), one channel."""
    return torch.from_numpy(images).unsqueeze(1)
