"""checkpoint: the same numbers everywhere, from less memory."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.graph import saved_tensors_hooks

import pax_torch as pax

X = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
OTHER_STATE = torch.Generator().manual_seed(5).get_state()
WEIGHT = torch.linspace(1, 2, 3, dtype=torch.float64)


def body(x, scale=1.0):
    return (x.sin() * x.exp() * WEIGHT).tanh() * scale


USES = {
    "value": lambda f: f,
    "grad": lambda f: pax.grad(lambda x: f(x).sum()),
    "grad of grad": lambda f: pax.grad(lambda x: pax.grad(lambda x: f(x).sum())(x).sin().sum()),
    "third order": lambda f: pax.grad(
        lambda x: pax.grad(lambda x: pax.grad(lambda x: f(x).sum())(x).sum())(x).sum()
    ),
    "jvp": lambda f: lambda x: pax.jvp(f, (x,), (x,)),
    "vjp": lambda f: lambda x: pax.vjp(f, x)[1](x),
    "hessian": lambda f: pax.hessian(lambda x: f(x).square().sum()),
    "vmap": lambda f: pax.vmap(f),
    "vmap grad": lambda f: pax.vmap(pax.grad(lambda x: f(x).sum())),
    "grad vmap": lambda f: pax.grad(lambda x: pax.vmap(f)(x).square().sum()),
    "func.grad": lambda f: torch.func.grad(lambda x: f(x).sum()),
    "closed over": lambda f: pax.grad(
        lambda w: pax.checkpoint(lambda x: f(x) * w)(X).sum()
    ),
    "of vmap": lambda f: pax.grad(lambda x: pax.checkpoint(pax.vmap(f))(x).sum()),
    "of grad": lambda f: pax.grad(
        lambda x: pax.checkpoint(pax.grad(lambda x: f(x).square().sum()))(x).sum()
    ),
    "of vjp": lambda f: pax.grad(
        lambda x: pax.checkpoint(lambda x: pax.vjp(f, x)[1](x)[0])(x).sum()
    ),
    "of hessian": lambda f: pax.grad(
        lambda x: pax.checkpoint(pax.hessian(lambda x: f(x).square().sum()))(x).sum()
    ),
    "keyword": lambda f: pax.grad(lambda x: f(x, scale=x.sum()).sum()),
}  # fmt: skip


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_same_numbers(use):
    torch.testing.assert_close(use(pax.checkpoint(body))(X), use(body)(X))


def test_finite_differences():
    f, x = pax.checkpoint(body), X.clone().requires_grad_()
    assert gradcheck(f, x)
    assert gradgradcheck(f, x)


def test_same_random_numbers():
    f = pax.checkpoint(lambda x: torch.dropout(x, 0.5, True) * x)
    value, gradient = pax.value_and_grad(lambda x: f(x).sum())(torch.ones(64))
    torch.testing.assert_close(gradient.sum(), 2 * value)


def test_same_random_numbers_where_a_derivative_within_keeps_all():
    def f(x):
        mask = torch.dropout(torch.ones_like(x), 0.5, True)
        return (torch.func.vjp(torch.sin, x)[1](mask)[0] * torch.rand(64)).sum()

    results = []
    for function in (f, pax.checkpoint(f)):
        torch.manual_seed(0)
        results.append((pax.value_and_grad(function)(torch.ones(64)), torch.rand(3)))
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_keeps_nothing_and_computes_again():
    calls, sizes = [], []

    def f(x):
        calls.append(1)
        for _ in range(10):
            x = x.sin()
        return x.sum()

    def saved(f):
        sizes.clear()
        with saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            pax.grad(lambda x: f(x) + 0)(torch.ones(1000))
        return sum(sizes)

    # The hooks do not see what a checkpoint does inside; they do see what it leaves outside.
    assert saved(f) >= 10_000
    assert len(calls) == 1
    assert saved(pax.checkpoint(f)) <= 10_000
    assert len(calls) == 3


def test_errors():
    with pytest.raises(TypeError, match="checkpoint expected a callable, got 3"):
        pax.checkpoint(3)
    with pytest.raises(RuntimeError, match="mine"):
        pax.grad(pax.checkpoint(lambda x: (_ for _ in ()).throw(RuntimeError("mine"))))(1.0)


def torch_checkpoint(f):
    return lambda x: torch.utils.checkpoint.checkpoint(f, x, use_reentrant=False)


@pytest.mark.parametrize("remat", [torch_checkpoint, pax.checkpoint], ids=["torch", "pax_torch"])
def test_compiled_gradient_has_the_random_numbers_of_its_value(remat):
    def drop(x):
        return torch.nn.functional.dropout(x.exp(), 0.5)

    step = pax.jit(pax.value_and_grad(lambda x: remat(drop)(x).sum()), backend="eager")
    for _ in range(3):  # of a sum of kept exp(x), twice each, the gradient is each summand
        value, grad = step(torch.ones(64, dtype=torch.float64))
        torch.testing.assert_close(grad.sum(), value)


@pytest.mark.parametrize(
    "seed",
    [lambda: torch.manual_seed(3), lambda: torch.set_rng_state(OTHER_STATE)],
    ids=["manual_seed", "set_rng_state"],
)
def test_compiled_function_sets_no_seed(seed):
    def noise(x):
        seed()
        return x + torch.rand(3)

    state = torch.get_rng_state()
    with pytest.raises(ValueError, match="sets the state of PyTorch's generator"):
        pax.jit(noise, backend="eager")(torch.ones(3))
    assert torch.equal(torch.get_rng_state(), state)
