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


def other_as_out(a, b):
    torch.mul(a, 3, out=b)
    return (a * b).sum()


def other_in_a_list(a, b):
    torch._foreach_mul_([b], [a])
    return (a * b).sum()


def other_by_a_view(a, b):
    b.view(-1)[0] = a[1]
    return (a * b).sum()


def other_without_gradients(a, b):
    with torch.no_grad():
        b.mul_(a)
    return (a * b).sum()


def other_data(a, b):
    b.data.add_(1)
    return (a * b).sum()


def other_memory(a, b):
    b.set_(torch.full((2,), 7.0))
    return (a * b).sum()


FUNCTIONS = [
    scaled_in_place,
    other_replaced,
    other_shifted,
    other_in_part,
    other_as_out,
    other_in_a_list,
    other_by_a_view,
    other_without_gradients,
    other_data,
    other_memory,
]


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
    "one jacrev": lambda lib, f, a, b: lib.jacrev(f)(a, b),
    "one jacfwd": lambda lib, f, a, b: lib.jacfwd(f)(a, b),
    "one hessian": lambda lib, f, a, b: lib.hessian(f)(a, b),
    "vmap of grad": lambda lib, f, a, b: lib.vmap(lib.grad(f))(a[None], b[None]),
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
    if f is other_memory and "vmap" in transform:
        return  # where PyTorch gives the memory of one example to a tensor of all
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


def written_in_trees(a, tree, *, total):
    tree["b"][0].mul_(a)
    total += a.sum()
    return (a * tree["b"][0]).sum()


@pytest.mark.parametrize("transform", [pax.jacrev, pax.jacfwd, pax.hessian])
def test_trees_and_keywords_are_written_to_where_torch_func_takes_the_derivative(transform):
    a, b, total = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]), torch.zeros(())
    found = transform(written_in_trees)(a, {"b": [b]}, total=total)
    expected = torch.diag(2 * torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(found, expected if transform is pax.hessian else expected @ a)
    assert (b.tolist(), total.item()) == ([3, 8], 3)
    assert is_clean(b)


def test_containers_that_are_changed_there_are_refused():
    def f(x, state):
        state["n"] = state["n"] + x
        return (x * state["n"]).sum()

    with pytest.raises(RuntimeError, match=r"changes a dict of tensors .* would be lost; return"):
        pax.jacrev(f)(ONES, {"n": ONES})


def test_arguments_without_derivative_may_be_nondiff_there():
    scale = pax.custom_jvp(lambda factor, x: factor * x, nondiff_argnums=0)
    scale.defjvp(lambda factor, primals, tangents: (factor * primals[0], factor * tangents[0]))
    for transform in (pax.jacrev, pax.jacfwd):
        assert transform(lambda x, f: scale(f, x).sum())(ONES, 2 * ONES).tolist() == [2, 2]


def test_what_is_written_is_clean_after_an_error():
    def f(a, b):
        b.mul_(a)
        raise KeyError("later")

    b = torch.ones(2)
    with pytest.raises(KeyError, match="later"):
        pax.grad(f)(ONES, b)
    assert is_clean(b)


@pytest.mark.parametrize("f", [other_in_a_list, other_by_a_view, other_without_gradients])
@pytest.mark.parametrize("around", [lambda f: f, pax.vmap], ids=["plain", "vmap"])
def test_checkpoints_would_write_again(around, f):
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
    if around is not pax.vmap:
        a, b = a[0], b[0].clone()
    if around is pax.vmap and f is other_in_a_list:
        return  # which PyTorch cannot map
    checkpointed = around(pax.checkpoint(f))
    with pytest.raises(
        RuntimeError, match=r"checkpoint: the function writes to .* write to a clone"
    ):
        pax.grad(lambda a, b: checkpointed(a, b).sum())(a, b)


@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_derivatives_of_compiled_functions_write_once(backend):
    a, b, closed = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]), torch.zeros(2)

    def f(a, b):
        closed.add_(1)
        return other_in_a_list(a, b)

    found = pax.grad(pax.jit(f, backend=backend))(a, b)
    assert (found.tolist(), b.tolist(), closed.tolist()) == ([6, 16], [3, 8], [1, 1])


def test_closed_over_tensors_are_written_to_once_in_each_call():
    norm = torch.nn.BatchNorm1d(2)
    compiled = pax.jit(lambda x: norm(x).sum(), backend="eager")
    for count in (1, 2, 3):
        compiled(torch.ones(4, 2))
        pax.eval_shape(norm, torch.ones(4, 2))
        assert norm.num_batches_tracked == count


def moved(b):
    b.data = torch.full((2,), 7.0)


MOVES = {
    "set_": lambda b: b.set_(torch.full((2,), 7.0)),
    "data": moved,
    "resize_": lambda b: b.resize_(1),
    "unsqueeze_": lambda b: b.unsqueeze_(0),
}


@pytest.mark.parametrize("name", MOVES)
def test_compiled_functions_give_arguments_no_other_memory(name):
    b = torch.ones(2)
    compiled = pax.jit(lambda b: (MOVES[name](b), b.sum())[1], backend="eager")
    with pytest.raises(ValueError, match="gives an argument other memory or another shape"):
        compiled(b)
    assert b.tolist() == [1, 1]
