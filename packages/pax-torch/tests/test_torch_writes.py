"""Functions that write to their arguments, against `torch.func`."""

import pytest
import torch
from torch.utils._pytree import tree_map

import pax_torch as pax

ONES = torch.ones(2)


def scaled_in_place(a, b):
    a.mul_(2)
    return (a * b).sum()


def other_replaced(a, b):
    b.copy_(a * 3)
    return (a * b).sum()


def other_shifted(a, b):
    b.add_(1)
    return (a * b).sum()


def other_in_part(a, b):
    b[0] = a[0] * 2
    return (a * b).sum()


FUNCTIONS = [scaled_in_place, other_replaced, other_shifted, other_in_part]


def pulled(lib, f, a, b):
    out, pull_back = lib.vjp(f, a, b)
    return out, pull_back(torch.tensor(1.0))


TRANSFORMS = {
    "grad": lambda lib, f, a, b: lib.grad(f)(a, b),
    "both": lambda lib, f, a, b: lib.grad(f, (0, 1))(a, b),
    "aux": lambda lib, f, a, b: lib.grad(lambda a, b: (f(a, b), a + b), has_aux=True)(a, b),
    "vjp": pulled,
    "jvp": lambda lib, f, a, b: lib.jvp(f, (a, b), (torch.ones(2), torch.ones(2))),
    "vmap": lambda lib, f, a, b: lib.vmap(f)(a[None], b[None]),
    "jacrev": lambda lib, f, a, b: lib.jacrev(f, (0, 1))(a, b),
    "jacfwd": lambda lib, f, a, b: lib.jacfwd(f, (0, 1))(a, b),
    "hessian": lambda lib, f, a, b: lib.hessian(f, (0, 1))(a, b),
    "grad of grad": lambda lib, f, a, b: lib.grad(
        lambda a, b: lib.grad(f)(a.clone(), b.clone()).sum()
    )(a, b),
}


def is_clean(tensor):
    """Whether a tensor is one that a caller could have made."""
    tensor.view(2)
    return type(tensor) is torch.Tensor and tensor.is_leaf and not tensor.requires_grad


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_what_is_written_is_that_of_torch_func(transform, f):
    mine, theirs = [[torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])] for _ in range(2)]
    outcomes = []
    for lib, args in ((pax, mine), (torch.func, theirs)):
        try:
            outcomes.append(repr(TRANSFORMS[transform](lib, f, *args)))
        except RuntimeError as error:  # what is differentiated may not always be written to
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1]
    assert all(map(is_clean, mine))
    assert tree_map(torch.Tensor.tolist, mine) == tree_map(torch.Tensor.tolist, theirs)


def test_arguments_in_trees_and_by_keyword_come_out_clean():
    def f(a, state, *, total):
        state["mean"].lerp_(a, 0.5)
        total += a.sum()
        return a.sum()

    state, total, a = {"mean": torch.zeros(2)}, torch.zeros(()), torch.tensor([1.0, 3.0])
    for _ in range(2):
        pax.value_and_grad(f)(a, state, total=total)
    assert is_clean(state["mean"])
    assert not total.requires_grad
    assert total.is_leaf
    assert state["mean"].tolist() == [0.75, 2.25]
    assert total.item() == 8


def test_a_graph_that_an_argument_has_is_kept():
    weight = torch.ones(2, requires_grad=True)
    hidden = weight * 3
    pax.grad(lambda a, h: (a * h).sum())(ONES, hidden)
    assert hidden.grad_fn is not None
    hidden.sum().backward()
    assert weight.grad.tolist() == [3, 3]


def test_what_is_written_within_another_derivative_belongs_to_it():
    def f(x):
        kept = torch.zeros(2)
        pax.grad(other_replaced)(x, kept)
        return (kept * x).sum()

    assert pax.grad(f)(torch.tensor([1.0, 2.0])).tolist() == [6, 12]


def test_a_view_that_is_written_to_is_refused():
    rows = torch.ones(3, 2)
    with pytest.raises(RuntimeError, match=r"shape \(2,\).* is a view .*; pass a clone"):
        pax.grad(other_replaced)(ONES, rows[0])
