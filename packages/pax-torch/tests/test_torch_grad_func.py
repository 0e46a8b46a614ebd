"""grad composes with the transforms of torch.func, in any order."""
# ruff: noqa: E731

import pytest
import torch

import pax_torch as pax

CUBE = lambda x: x**3
XS = torch.arange(1.0, 4.0)


@pytest.mark.parametrize(
    ("function", "argument", "expected"),
    [
        pytest.param(torch.func.vmap(pax.grad(CUBE)), XS, 3 * XS**2, id="vmap-grad"),
        pytest.param(torch.func.vmap(pax.grad(pax.grad(CUBE))), XS, 6 * XS, id="vmap-grad-grad"),
        pytest.param(
            pax.grad(lambda x: torch.func.vmap(CUBE)(x).sum()), XS, 3 * XS**2, id="grad-vmap"
        ),
        pytest.param(
            pax.grad(lambda x: torch.func.vmap(pax.grad(CUBE))(x).sum()),
            XS,
            6 * XS,
            id="grad-vmap-grad",
        ),
        pytest.param(torch.func.grad(pax.grad(CUBE)), XS[1], 6 * XS[1], id="func.grad-grad"),
        pytest.param(pax.grad(torch.func.grad(CUBE)), XS[1], 6 * XS[1], id="grad-func.grad"),
        pytest.param(
            pax.grad(torch.func.grad(pax.grad(CUBE))), XS[1], torch.tensor(6.0), id="sandwich"
        ),
        pytest.param(torch.func.jacfwd(pax.grad(CUBE)), XS[1], 6 * XS[1], id="jacfwd-grad"),
        pytest.param(torch.func.jacrev(pax.grad(CUBE)), XS[1], 6 * XS[1], id="jacrev-grad"),
        pytest.param(
            torch.func.hessian(lambda x: pax.grad(CUBE)(x)), XS[1], torch.tensor(6.0), id="hessian"
        ),
    ],
)
def test_composition(function, argument, expected):
    torch.testing.assert_close(function(argument), expected)


def test_jvp_of_grad():
    _, tangent = torch.func.jvp(pax.grad(CUBE), (XS[1],), (torch.tensor(2.0),))
    torch.testing.assert_close(tangent, 12 * XS[1])


def test_aux_under_vmap():
    f = pax.value_and_grad(lambda x: (x**2, {"double": 2 * x}), has_aux=True)
    (value, aux), gradient = torch.func.vmap(f)(XS)
    torch.testing.assert_close((value, aux["double"], gradient), (XS**2, 2 * XS, 2 * XS))


def test_aux_that_is_no_tensor_inside_a_transform():
    seen = []

    def outer(x):
        gradient, aux = pax.grad(lambda y: (y**3, ["text", y, 3, None]), has_aux=True)(x)
        seen.append(aux)
        return gradient

    torch.testing.assert_close(torch.func.grad(outer)(XS[1]), 6 * XS[1])
    text, _, number, none = seen[0]
    assert (text, number, none) == ("text", 3, None)


def test_unused_leaf_under_vmap():
    f = lambda t: t["a"] * 2
    gradient = torch.func.vmap(pax.grad(f))({"a": XS, "b": XS})
    torch.testing.assert_close(gradient, {"a": torch.full((3,), 2.0), "b": torch.zeros(3)})
    strict = pax.grad(f, allow_unused=False)
    with pytest.raises(ValueError, match=r"does not depend on argument 0\['b'\]"):
        torch.func.vmap(strict)({"a": XS, "b": XS})


def test_per_sample_gradients():
    net = torch.nn.Linear(4, 1)
    forward, params = pax.functional_module(net), pax.get_params(net)
    x = torch.randn(5, 4)

    def loss(params, x):
        return forward(params, x)[0].square().sum()

    per_sample = torch.func.vmap(pax.grad(loss), in_dims=(None, 0))(params, x)
    total = pax.tree_map(lambda g: g.sum(0), per_sample)
    torch.testing.assert_close(total, pax.grad(loss)(params, x))
