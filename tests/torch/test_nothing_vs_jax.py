"""Trees with nothing to differentiate have empty derivatives, as in JAX."""

import jax
import jax.numpy as jnp
import pytest
import torch

import pax_torch as pax


def ones(lib):
    return jnp.ones(2) if lib is jax else torch.ones(2)


def scalar(lib, tree):
    return (jnp if lib is jax else torch).sum(ones(lib) * 3)


USES = {
    "grad": lambda lib, t: lib.grad(lambda p: scalar(lib, p))(t),
    "value_and_grad": lambda lib, t: lib.value_and_grad(lambda p, x: x.sum())(t, ones(lib)),
    "two arguments": lambda lib, t: lib.grad(lambda p, x: x.sum(), (0, 1))(t, ones(lib)),
    "has_aux": lambda lib, t: lib.grad(lambda p: (scalar(lib, p), ones(lib)), has_aux=True)(t),
    "grad of grad": lambda lib, t: lib.grad(
        lambda x: lib.value_and_grad(lambda p: (x**2).sum())(t)[0]
    )(ones(lib)),
    "vmap of grad": lambda lib, t: lib.vmap(lambda x: (lib.grad(lambda p: x * 2)(t), x))(ones(lib)),
    "vjp": lambda lib, t: lib.vjp(lambda p: ones(lib), t)[1](ones(lib)),
    "vjp of grad": lambda lib, t: lib.vjp(lambda x: lib.grad(lambda p: x.sum())(t), ones(lib))[1](
        t
    ),
    "jvp": lambda lib, t: lib.jvp(lambda p: ones(lib) * 2, (t,), (t,)),
    "linearize": lambda lib, t: lib.linearize(lambda p: ones(lib) * 2, t)[1](t),
}


@pytest.mark.parametrize("tree", [{}, None, [(), {}]], ids=repr)
@pytest.mark.parametrize("use", USES)
def test_empty_trees(use, tree):
    found, expected = USES[use](pax, tree), USES[use](jax, tree)
    assert pax.tree_structure(found) == pax.tree_structure(expected)
    for x, y in zip(pax.tree_leaves(found), pax.tree_leaves(expected), strict=True):
        torch.testing.assert_close(torch.as_tensor(x), torch.tensor(y.tolist()))


@pytest.mark.parametrize("tree", [{}, None, [(), {}]], ids=repr)
@pytest.mark.parametrize("jacobian", [pax.jacfwd, pax.jacrev, pax.hessian])
def test_jacobians_of_empty_trees(jacobian, tree):
    """JAX's fail where it looks for a dtype."""
    assert jacobian(lambda p: torch.tensor(1.0))(tree) == tree


def test_no_arguments():
    out, pull = pax.vjp(lambda: torch.ones(2))
    assert out.tolist() == [1.0, 1.0]
    assert pull(torch.ones(2)) == ()
    assert pax.jvp(lambda: torch.tensor(1.0), (), ()) == (1.0, 0.0)
    with pytest.raises(TypeError, match="got only 0"):
        pax.grad(lambda: torch.tensor(1.0))()


def test_integers_alone():
    assert pax.grad(lambda n: n * 1.0, allow_int=True)(3) is None
    assert pax.vjp(lambda n: n * 1.0, 3)[1](1.0) == (None,)
    assert pax.jvp(lambda n: n * 1.0, (3,), (None,)) == (3.0, 0.0)
    assert pax.linearize(lambda n: n * 2.0, 3)[1](None) == 0.0


def test_a_module_without_parameters_trains():
    net = torch.nn.ReLU()
    forward, params = pax.functional_module(net), pax.get_params(net)
    value, grads = pax.value_and_grad(lambda p, x: forward(p, x)[0].sum())(params, torch.ones(2))
    adam = pax.functional_optimizer(torch.optim.Adam)
    assert (value, grads) == (2.0, {})
    assert adam.step(params, grads, adam.init(params)) == ({}, {})


def test_closed_over_parameters_accumulate_nothing():
    w = torch.ones(2, requires_grad=True)
    pax.grad(lambda p: (w**2).sum())({})
    assert w.grad is None
