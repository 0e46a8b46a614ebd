"""Every code block of the document that pax_torch starts from, with its own prints."""
# ruff: noqa: E731

from itertools import pairwise

import pytest
import torch

import pax_torch as pax


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_pytrees_in_pytorch():
    tree = {"a": [torch.tensor(3.0), torch.tensor(4.0)], "c": 4}

    assert pax.tree_map(lambda x: x * 2, tree) == {
        "a": [torch.tensor(6.0), torch.tensor(8.0)],
        "c": 8,
    }


def test_autodiff_that_looks_like_jax():
    f = lambda x: x**2
    df_dx = pax.grad(f)

    assert repr(df_dx(2.0)) == "tensor(4.)"


def test_any_pytree_as_input():
    def f(x):
        return x["a"] * x["b"]

    x = {"a": 2.0, "b": -1.5}

    expected = "(tensor(-3.), {'a': tensor(-1.5000), 'b': tensor(2.)})"
    assert repr(pax.value_and_grad(f)(x)) == expected


def test_higher_order_derivatives():
    f = lambda x: 1 / 6 * x**3

    assert repr(pax.grad(f)(2.0)) == "tensor(2.)"
    assert repr(pax.grad(pax.grad(f))(3.0)) == "tensor(3.)"


def test_minimal_sgd(capsys):
    f = lambda x: x**2
    df_dx = pax.grad(f)

    x = start = torch.randn([])  # initialization
    for _step in range(20):
        x = x - 0.1 * df_dx(x)
        print(x, f(x))

    torch.testing.assert_close(x, start * 0.8**20)
    assert len(capsys.readouterr().out.splitlines()) == 20


def test_meta_learning_the_learning_rate():
    f = lambda x: x**2
    df_dx = pax.grad(f)

    def sgd(x, lr=0.1, num_steps=10):
        for _ in range(num_steps):
            x = x - lr * df_dx(x)
        return x

    # optimize the learning rate
    def meta_loss(lr):
        x0 = 1.0
        return f(sgd(x0, lr=lr))

    df_dlr = pax.grad(meta_loss)

    lr = 0.1
    losses = []
    for _ in range(100):
        losses.append(meta_loss(lr))
        lr = lr - 0.1 * df_dlr(lr)

    torch.testing.assert_close(df_dlr(0.1), torch.tensor(20 * 0.8**19 * -2.0))
    assert all(later < earlier for earlier, later in pairwise(losses))


def test_converting_a_module():
    net = torch.nn.Linear(10, 1)  # any torch.nn.Module

    # convert
    forward = pax.functional_module(net)

    # initialize
    params, buffers = pax.get_params(net), pax.get_buffers(net)

    # run
    data_batch = torch.zeros(2, 10)
    out, buffers = forward(params, data_batch, buffers=buffers, is_training=True)

    assert torch.equal(out, net(data_batch))
    assert buffers == {}


def test_functional_optimizer(capsys):
    optimizer = pax.functional_optimizer(torch.optim.Adam, lr=1e-3)

    f = lambda x: x**2
    df_dx = pax.grad(f)
    params = torch.tensor(3.0)
    opt_state = optimizer.init(params)

    for _step in range(10):
        params, opt_state = optimizer.step(params, df_dx(params), opt_state)
        print(params.item())

    printed = [float(line) for line in capsys.readouterr().out.splitlines()]
    reference = torch.tensor(3.0, requires_grad=True)
    adam = torch.optim.Adam([reference], lr=1e-3)
    for value in printed:
        adam.zero_grad()
        f(reference).backward()
        adam.step()
        assert value == reference.item()


def test_learning_rate_schedule(capsys):
    optimizer = pax.functional_optimizer(torch.optim.SGD, lr=0)
    lr_at_step = pax.functional_schedule(
        torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda step: 1 / (step + 1), initial_lr=0.1
    )

    f = lambda x: x**2
    df_dx = pax.grad(f)
    params = torch.tensor(3.0)
    opt_state = optimizer.init(params)

    for step in range(10):
        params, opt_state = optimizer.step(params, df_dx(params), opt_state, lr=lr_at_step(step))
        print(params.item())

    expected = 3.0
    for step, line in enumerate(capsys.readouterr().out.splitlines()):
        expected *= 1 - 0.2 / (step + 1)
        assert float(line) == pytest.approx(expected)
