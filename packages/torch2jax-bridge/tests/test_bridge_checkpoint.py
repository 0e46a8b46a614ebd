"""Modules that call `torch.utils.checkpoint`, whose backward pass runs parts of them again."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from torch2jax_bridge import torch2jax

# PyTorch says so where a module is called without gradients, as the inference calls it.
pytestmark = pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
X = jnp.linspace(-1, 1, 12).reshape(4, 3)
BOTH = pytest.mark.parametrize("reentrant", [False, True], ids=["not reentrant", "reentrant"])


class Block(nn.Module):
    """As a layer of transformers: `gradient_checkpointing_enable` puts a function into it."""

    runs = 0
    checkpoint = None

    def __init__(self, dropout):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(4), nn.Linear(4, 4)
        self.dropout = nn.Dropout(dropout)

    def __call__(self, *args, **kwargs):
        if self.checkpoint is None:
            return super().__call__(*args, **kwargs)
        return self.checkpoint(functools.partial(super().__call__, **kwargs), *args)

    def forward(self, x, scale=1.0):
        Block.runs += 1
        return x + self.dropout(torch.tanh(self.linear(self.norm(x)))) * scale


class Net(nn.Module):
    def __init__(self, dropout=0.0):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.blocks = nn.ModuleList(Block(dropout) for _ in range(2))

    def gradient_checkpointing_enable(self, **kwargs):
        for block in self.blocks:
            block.checkpoint = functools.partial(checkpoint, **kwargs)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x, scale=0.5)
        return self.last(x)


class Sequential(Net):
    def forward(self, x):
        return self.last(checkpoint_sequential(self.blocks, 2, self.first(x), use_reentrant=False))


class Nested(Net):
    def inner(self, x):
        return self.last(checkpoint(self.blocks[1], x, use_reentrant=self.reentrant))

    def forward(self, x):
        return checkpoint(
            lambda x: self.inner(self.blocks[0](x)), self.first(x), use_reentrant=self.reentrant
        )


def made(reentrant, cls=Net, dropout=0.0, enabled=True):
    torch.manual_seed(0)
    module = cls(dropout)
    module.reentrant = reentrant
    if enabled and cls is Net:
        module.gradient_checkpointing_enable(use_reentrant=reentrant)
    return module


def loss_of(apply, **kwargs):
    return lambda params, x: (apply(params, x, **kwargs)[0] ** 2).sum()


def close(ours, theirs, **kwargs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **kwargs), ours, theirs)


@BOTH
@pytest.mark.parametrize("cls", [Net, Sequential, Nested])
def test_bridge_checkpointed_modules_have_the_gradients_of_pytorch(reentrant, cls):
    module = made(reentrant, cls)
    apply, params, _ = torch2jax(module)
    x = torch.tensor(np.asarray(X))
    (module(x) ** 2).sum().backward()
    expected = {name: p.grad.numpy() for name, p in module.named_parameters()}
    loss = loss_of(apply)
    for grad in (jax.jit(jax.grad(loss)), jax.grad(loss)):
        close(grad(params, X), expected, rtol=1e-4, atol=1e-5)
    assert all(p.grad is not None for p in module.parameters())


@BOTH
def test_bridge_checkpointed_parts_run_again_with_the_same_dropout(reentrant):
    module = made(reentrant, dropout=0.5)
    apply, params, _ = torch2jax(module)
    plain = torch2jax(made(reentrant, dropout=0.5, enabled=False)).apply
    key = jax.random.key(3)
    step, expected = (jax.jit(jax.value_and_grad(loss_of(a, rng=key))) for a in (apply, plain))
    step(params, X)
    Block.runs = 0
    found = jax.block_until_ready(step(params, X))
    assert Block.runs == 4  # two blocks, twice
    state = torch.get_rng_state()
    close(found, expected(params, X), rtol=1e-5, atol=1e-6)
    assert torch.equal(torch.get_rng_state(), state)
    unkeyed = jax.jit(jax.value_and_grad(lambda p, x: apply(p, x)[0].sum()))
    value, grads = unkeyed(params, X)
    close(grads["last.bias"], [4.0, 4.0])
    assert not np.allclose(value, unkeyed(params, X)[0])


@BOTH
def test_bridge_checkpointed_modules_called_twice_and_in_loops(reentrant):
    apply, params, _ = torch2jax(made(reentrant))
    plain = torch2jax(made(reentrant, enabled=False)).apply

    def twice(apply):
        loss = loss_of(apply)

        def total(params, x):
            other = jax.tree.map(lambda p: p * 0.5, params)
            rows = jax.lax.scan(lambda c, x: (c + loss(params, x), None), 0.0, x.reshape(2, 2, 3))
            return loss(params, x) * loss(other, x) + rows[0]

        return jax.jit(jax.grad(total, (0, 1)))

    step = twice(apply)
    for _ in range(2):
        close(step(params, X), twice(plain)(params, X), rtol=1e-4, atol=1e-4)


def test_bridge_second_derivatives_of_checkpointed_modules():
    def slope(apply):
        return jax.jit(jax.grad(lambda x: jax.grad(loss_of(apply), 1)(params, x).sum()))

    apply, params, _ = torch2jax(made(False))
    plain = torch2jax(made(False, enabled=False)).apply
    close(slope(apply)(X), slope(plain)(X), rtol=1e-4, atol=1e-5)
    apply = torch2jax(made(True)).apply
    with pytest.raises(
        jax.errors.JaxRuntimeError, match="gives no second derivatives: pass use_re"
    ):
        jax.block_until_ready(slope(apply)(X))


@BOTH
def test_bridge_checkpointed_modules_in_transforms_of_pytorch(reentrant):
    apply, params, _ = torch2jax(made(reentrant))
    with pytest.raises(jax.errors.JaxRuntimeError, match="turn checkpointing off in the module"):
        jax.block_until_ready(jax.vmap(jax.grad(loss_of(apply)), (None, 0))(params, X))
    rows = jax.vmap(lambda x: apply(params, x)[0])(X) if not reentrant else apply(params, X)[0]
    close(rows, torch2jax(made(reentrant, enabled=False)).apply(params, X)[0], rtol=1e-5)


def test_bridge_modules_without_checkpoints_have_one_template():
    apply, params, _ = torch2jax(made(False, enabled=False))
    grad = jax.jit(jax.grad(loss_of(apply)))
    for _ in range(3):
        jax.block_until_ready(grad(params, X))
    checkpointed, _, _ = torch2jax(made(False))
    grad = jax.jit(jax.grad(loss_of(checkpointed)))
    for _ in range(3):
        jax.block_until_ready(grad(params, X))
    for module in (apply, checkpointed):
        assert len(module._call._fn._pools[True]._free) == 1
