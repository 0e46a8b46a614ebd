"""Every transformation of a wrapped function against the same function written in PyTorch."""

import jax
import jax.numpy as jnp
import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, linearize, vjp, vmap
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from torch2jax_bridge import jax2torch


def matrix(xp, x, y):
    return xp.sin(x[:, None] * y[None, :]) @ xp.cos(x)


def several(xp, x, y):
    return {"sum": x + y * y * x, "norm": [(x * x).sum() * y[0]]}


def conjugate(xp, x, y):
    return xp.conj(x) * y + xp.abs(x * y) + xp.real(xp.exp(y))


def scalar(f):
    """A real number of the results, which uses all of them."""
    return lambda *args: sum(torch.sin(leaf.abs()).sum() for leaf in tree_leaves(f(*args)))


def autograd(f, x, y, **options):
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    return torch.autograd.grad(scalar(f)(x, y), (x, y), **options)


def twice(f, x, y):
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    first = torch.autograd.grad(scalar(f)(x, y), (x, y), create_graph=True)
    return torch.autograd.grad(sum(torch.sin(g.abs()).sum() for g in first), (x, y))


def thrice(f, x, y):
    return autograd(lambda x, y: twice_kept(f, x, y), x, y)


def twice_kept(f, x, y):
    first = torch.autograd.grad(scalar(f)(x, y), (x, y), create_graph=True)
    total = sum(torch.sin(g.abs()).sum() for g in first)
    return torch.autograd.grad(total, (x, y), create_graph=True)


def dual(f, x, y):
    with forward_ad.dual_level():
        out = f(forward_ad.make_dual(x, y), forward_ad.make_dual(y, x))
        return [forward_ad.unpack_dual(leaf).tangent for leaf in tree_leaves(out)]


def dual_over_reverse(f, x, y):
    with forward_ad.dual_level():
        leaves = [forward_ad.make_dual(x.clone().requires_grad_(), y), y.clone().requires_grad_()]
        first = torch.autograd.grad(scalar(f)(*leaves), leaves, create_graph=True)
        return [forward_ad.unpack_dual(g).tangent for g in first]


def pulled(f, x, y):
    out, pull = vjp(f, x, y)
    return pull(torch.utils._pytree.tree_map(torch.cos, out))


def linearized(f, x, y):
    out, push = linearize(f, x, y)
    return out, push(y, x)


def batched_grads(f, x, y):
    x = x.clone().requires_grad_()
    out = tree_leaves(f(x, y))[0].reshape(-1)
    rows = torch.eye(out.numel(), dtype=out.dtype)
    return torch.autograd.grad(out, x, rows, is_grads_batched=True)


def checkpointed(f, x, y):
    return autograd(lambda x, y: checkpoint(f, x, y, use_reentrant=False), x, y)


def of_module(f, x, y):
    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.x = torch.nn.Parameter(x)

        def forward(self, y):
            return scalar(f)(self.x, y)

    return grad(lambda x: functional_call(Module(), {"x": x}, (y,)))(x)


def rows_of(x):
    return torch.linspace(0.5, 1.5, 4, dtype=x.real.dtype)[:, None] * x


TRANSFORMS = {
    "call": lambda f, x, y: f(x, y),
    "grad": lambda f, x, y: grad(scalar(f), (0, 1))(x, y),
    "grad_of_one": lambda f, x, y: grad(scalar(f), 1)(x, y),
    "vjp": pulled,
    "jvp": lambda f, x, y: jvp(f, (x, y), (y, x)),
    "jvp_of_one": lambda f, x, y: jvp(lambda x: f(x, y), (x,), (y,)),
    "linearize": linearized,
    "autograd": autograd,
    "autograd_twice": twice,
    "autograd_thrice": thrice,
    "dual": dual,
    "dual_over_reverse": dual_over_reverse,
    "batched_grads": batched_grads,
    "checkpoint": checkpointed,
    "functional_call": of_module,
    "vmap": lambda f, x, y: vmap(f)(rows_of(x), rows_of(y)),
    "vmap_one": lambda f, x, y: vmap(f, (None, 0))(x, rows_of(y)),
    "vmap_last": lambda f, x, y: vmap(f, (1, 0), -1)(rows_of(x).T, rows_of(y)),
    "vmap_nested": lambda f, x, y: vmap(vmap(f, (0, None)), (None, 0))(rows_of(x), rows_of(y)),
    "vmap_chunks": lambda f, x, y: vmap(f, chunk_size=3)(rows_of(x), rows_of(y)),
    "vmap_of_grad": lambda f, x, y: vmap(grad(scalar(f), (0, 1)), (0, None))(rows_of(x), y),
    "vmap_of_jvp": lambda f, x, y: vmap(lambda x: jvp(f, (x, y), (y, x)))(rows_of(x)),
    "grad_of_vmap": lambda f, x, y: grad(scalar(vmap(f, (0, None))), (0, 1))(rows_of(x), y),
    "autograd_of_vmap": lambda f, x, y: autograd(vmap(f, (0, None)), rows_of(x), y),
    "autograd_of_vmap_last": lambda f, x, y: autograd(vmap(f, (1, None)), rows_of(x).T, y),
    "twice_of_vmap": lambda f, x, y: twice(vmap(f, (0, None)), rows_of(x), y),
    "autograd_of_nested_vmap": lambda f, x, y: autograd(
        vmap(vmap(f, (0, None)), (None, 0)), rows_of(x), rows_of(y)
    ),
    "grad_of_grad": lambda f, x, y: grad(scalar(grad(scalar(f))))(x, y),
    "grad_of_grad_of_other": lambda f, x, y: grad(scalar(grad(scalar(f))), 1)(x, y),
    "autograd_of_grad": lambda f, x, y: autograd(grad(scalar(f)), x, y),
}

REAL_TRANSFORMS = {
    "jacrev": lambda f, x, y: jacrev(f, (0, 1))(x, y),
    "jacfwd": lambda f, x, y: jacfwd(f, (0, 1))(x, y),
    "jacrev_chunks": lambda f, x, y: jacrev(f, chunk_size=2)(x, y),
    "hessian": lambda f, x, y: hessian(f, (0, 1))(x, y),
    "forward_forward": lambda f, x, y: jacfwd(jacfwd(f))(x, y),
    "reverse_reverse": lambda f, x, y: jacrev(jacrev(f))(x, y),
    "reverse_forward": lambda f, x, y: jacrev(jacfwd(f))(x, y),
    "third": lambda f, x, y: jacfwd(jacrev(jacrev(f)))(x, y),
    "vmap_of_hessian": lambda f, x, y: vmap(hessian(f), (0, None))(rows_of(x), y),
    "grad_of_hessian": lambda f, x, y: grad(scalar(hessian(f)), 1)(x, y),
}


def arguments(dtype):
    x = torch.tensor([0.3, 1.1, -0.7], dtype=getattr(torch, dtype))
    y = torch.tensor([0.9, -0.4, 0.6], dtype=x.dtype)
    if x.is_complex():
        x, y = x + 0.2j * y, y - 0.5j * x
    return x, y


def compare(transform, function, dtype, tolerance):
    with jax.enable_x64("64" in dtype or "128" in dtype):
        x, y = arguments(dtype)
        got = transform(jax2torch(lambda x, y: function(jnp, x, y)), x, y)
        want = transform(lambda x, y: function(torch, x, y), x, y)
    got, want = tree_leaves(got), tree_leaves(want)
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


PRECISION = {"float32": 3e-4, "float64": 1e-9, "complex128": 1e-9}


REAL = [(matrix, "float64"), (several, "float32"), (conjugate, "float64")]
ALL = [*REAL, (conjugate, "complex128")]


@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node")  # by torch.func.linearize
@pytest.mark.parametrize(("function", "dtype"), ALL)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_jax2torch_transform(name, function, dtype):
    compare(TRANSFORMS[name], function, dtype, PRECISION[dtype])


@pytest.mark.parametrize(("function", "dtype"), REAL)
@pytest.mark.parametrize("name", REAL_TRANSFORMS)
def test_jax2torch_real_transform(name, function, dtype):
    compare(REAL_TRANSFORMS[name], function, dtype, PRECISION[dtype])
