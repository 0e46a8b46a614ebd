"""Policies of checkpoint, and checkpoints inside of vmap: what is computed again, and what is kept."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

import pax_torch as pax

W = torch.linspace(-1, 1, 16).reshape(4, 4)
X = torch.linspace(-1, 2, 24).reshape(3, 2, 4)
POLICIES = pax.checkpoint_policies
# How often a function with two products of matrices, batched or not, and two sines computes each.
COUNTS = {
    "everything_saveable": (1, 1, 2),
    "nothing_saveable": (2, 2, 4),
    "dots_saveable": (1, 1, 4),
    "dots_with_no_batch_dims_saveable": (1, 2, 4),
}


class Counts(TorchDispatchMode):
    """Counts the forward operations that run."""

    def __init__(self):
        super().__init__()
        self.counts = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[func] = self.counts.get(func, 0) + 1
        return func(*args, **(kwargs or {}))

    def __getitem__(self, func):
        return self.counts.get(func, 0)


def body(x):
    return (((x @ W).sin() @ x.mT).sin() * 2).exp()


USES = {
    "plain": lambda f: pax.grad(lambda x: f(x[0]).sum()),
    "vmap": lambda f: pax.grad(lambda x: pax.vmap(f)(x).square().sum()),
    "vmap closed over": lambda f: pax.grad(
        lambda x: pax.vmap(lambda x: pax.checkpoint(lambda y: f(y) * x.sum())(x))(x).sum()
    ),
    "nested": lambda f: pax.grad(lambda x: pax.vmap(pax.vmap(lambda x: f(x[None])))(x).sum()),
    "grad of grad": lambda f: pax.grad(
        lambda x: pax.grad(lambda x: pax.vmap(f)(x).sum())(x).square().sum()
    ),
    "vjp within": lambda f: pax.grad(
        lambda x: pax.vmap(pax.checkpoint(lambda x: pax.vjp(f, x)[1](f(x))[0]))(x).sum()
    ),
    "chunks": lambda f: pax.grad(lambda x: pax.vmap(f, chunk_size=2)(x).sum()),
}


@pytest.mark.parametrize("policy", COUNTS)
@pytest.mark.parametrize("use", USES)
def test_same_numbers(use, policy):
    f = pax.checkpoint(body, policy=getattr(POLICIES, policy))
    torch.testing.assert_close(USES[use](f)(X), USES[use](body)(X))


@pytest.mark.parametrize("policy", COUNTS)
@pytest.mark.parametrize("mapped", [False, True])
def test_what_is_computed_again(policy, mapped):
    f = pax.checkpoint(
        lambda x: ((x @ W).sin()[None] @ x.mT[None]).sin().exp().sum(),
        policy=getattr(POLICIES, policy),
    )
    f = pax.vmap(f) if mapped else f
    x = (X if mapped else X[0]).clone().requires_grad_()
    aten = torch.ops.aten
    with Counts() as counts:
        out = f(x).sum()
        out.backward()
    plain, batched, sines = COUNTS[policy]
    backward = 1, 2  # what the derivatives of the two products need
    assert counts[aten.mm.default] == plain + backward[0]
    assert counts[aten.bmm.default] == batched + backward[1]
    assert counts[aten.sin.default] == sines


def kept(f, x):
    """How many numbers are kept for the backward pass."""
    sizes = []
    with saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        f(x.clone().requires_grad_())
    return sum(sizes)


def test_inside_of_vmap_only_arguments_are_kept():
    f = lambda x: (x.sin().exp() * x.cos()).tanh().sin()  # noqa: E731
    assert kept(pax.vmap(pax.checkpoint(f)), X) == X.numel() < kept(pax.vmap(f), X)


def test_random_numbers_inside_of_vmap_are_drawn_once():
    f = pax.checkpoint(lambda x: torch.nn.functional.dropout(x) * x)
    mapped = pax.vmap(f, randomness="different")
    ones = torch.ones(8, 4)
    out, grads = pax.value_and_grad(lambda x: (y := mapped(x), y.sum())[::-1], has_aux=True)(ones)
    torch.testing.assert_close(grads, 2 * out[1])


def test_results_that_are_not_mapped_stay_so():
    f = pax.checkpoint(lambda x, w: (x * w, 2 * w, "name"))
    w = torch.ones(4, requires_grad=True)
    first, second, _ = pax.vmap(f, in_axes=(0, None), out_axes=(0, None, None))(X[0], w)
    assert first.shape == (2, 4)
    assert second.shape == (4,)


def test_policies_must_be_functions():
    with pytest.raises(TypeError, match=r"policy must be a function, .* got 'dots' of type str\."):
        pax.checkpoint(body, policy="dots")
