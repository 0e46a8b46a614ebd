"""`clip_by_global_norm` at the edges: gradients of nothing, norms out of range, and numbers that overflow."""

import pytest
import torch

import pax_torch as pax

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.complex64])
def test_the_derivative_at_zero_is_that_of_a_tree_which_stays(dtype):
    zeros = {"a": torch.zeros(2, dtype=dtype), "b": torch.zeros((), dtype=dtype)}

    def total(tree):
        return sum(x.real.sum() for x in pax.clip_by_global_norm(tree, 1.0)[0].values())

    found = pax.grad(total)(zeros)
    assert all(x.eq(1).all() and x.dtype is dtype for x in found.values())
    norm = pax.grad(lambda tree: pax.clip_by_global_norm(tree, 1.0)[1])(zeros)
    assert all(x.eq(0).all() for x in norm.values())


@pytest.mark.parametrize("as_given", [float, torch.tensor])
@pytest.mark.parametrize("max_norm", [-1.0, -1e-30, -INF, NAN])
def test_norms_below_zero_are_refused(as_given, max_norm):
    with pytest.raises(ValueError, match="max_norm must be at least 0, got"):
        pax.clip_by_global_norm([torch.ones(2)], as_given(max_norm))


@pytest.mark.parametrize("gradient", [0.0, -0.0, 1.0, 1e30, 1e-30, 1e-42, INF, NAN])
@pytest.mark.parametrize("max_norm", [0.0, 1.0, INF])
def test_values_are_those_of_torch(gradient, max_norm):
    x = torch.tensor([gradient, 0.5])
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = x.clone()
    expected = torch.nn.utils.clip_grad_norm_([weight], max_norm)
    (found,), norm = pax.clip_by_global_norm([x], max_norm)
    torch.testing.assert_close(norm, expected, equal_nan=True)
    torch.testing.assert_close(found, weight.grad, equal_nan=True)
