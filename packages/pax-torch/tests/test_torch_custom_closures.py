"""Rules of functions that close over a module: refused only where a derivative would be lost."""

import pytest
import torch

import pax_torch as pax

NET = torch.nn.Linear(3, 3)
X = torch.linspace(-1, 1, 3)
ROWS = torch.linspace(-1, 1, 6).reshape(2, 3)
RULES = {
    "custom_jvp": lambda f: f.defjvp(lambda primals, tangents: (f(*primals), 3 * tangents[0])),
    "custom_vjp": lambda f: f.defvjp(lambda x: (f.fun(x), None), lambda _, g: (3 * g,)),
}


@pytest.fixture(params=RULES)
def make(request):
    """Give a function a rule by which its derivative is 3."""

    def make(fun):
        f = getattr(pax, request.param)(fun)
        RULES[request.param](f)
        return f

    return make


USES = {
    "grad": lambda f: pax.grad(lambda x: f(x).sum())(X),
    "value_and_grad": lambda f: pax.value_and_grad(lambda x: f(x).sum())(X)[1],
    "jvp": lambda f: pax.jvp(f, (X,), (torch.ones(3),))[1],
    "vjp": lambda f: pax.vjp(f, X)[1](torch.ones(3))[0],
    "jacrev": lambda f: pax.jacrev(f)(X).sum(0),
    "jacfwd": lambda f: pax.jacfwd(f)(X).sum(0),
    "grad of grad": lambda f: pax.grad(
        lambda x: pax.grad(lambda x: (f(x) * X).sum())(x).sum() + f(x).sum()
    )(X),
    "grad of vmap": lambda f: pax.grad(lambda x: pax.vmap(f)(x).sum())(ROWS)[0],
    "jit": lambda f: pax.jit(pax.grad(lambda x: f(x).sum()), backend="eager")(X),
    "checkpoint": lambda f: pax.grad(lambda x: pax.checkpoint(lambda x: f(x).sum())(x))(X),
}


@pytest.mark.parametrize("use", USES)
def test_a_module_may_be_closed_over_where_nothing_is_lost(make, use):
    torch.testing.assert_close(USES[use](make(lambda x: NET(x))), torch.full((3,), 3.0))


LOSSES = {
    "its parameters": lambda make: pax.grad(
        lambda w: make(lambda x: x * w)(w * X).sum()
    )(torch.ones(3)),
    "those of a module": lambda make: pax.grad(
        lambda p: make(lambda x: pax.functional_module(NET)(p, x)[0])(p["bias"]).sum()
    )(pax.get_params(NET)),
    "what comes from them": lambda make: pax.grad(
        lambda w: pax.grad(lambda x: make(lambda x: x * w.exp())(x).sum())(X).sum()
    )(torch.ones(3)),
    "PyTorch's own derivative": lambda make: make(lambda x: NET(x))(X.clone().requires_grad_()),
    "a graph that is kept": lambda make: pax.grad(
        lambda x: make(lambda x: NET(x))(x).sum(), create_graph=True
    )(X),
}  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
def test_what_would_be_lost_is_refused(make, loss):
    with pytest.raises(
        RuntimeError, match=r"the function closes over a tensor .* pass it as an arg"
    ):
        LOSSES[loss](make)


def scaled_rule(kind, s):
    """A sine whose rule alone closes over `s`."""
    if kind == "jvp":
        sine = pax.custom_jvp(torch.sin)
        sine.defjvp(lambda primals, tangents: (primals[0].sin(), s * tangents[0]))
    else:
        sine = pax.custom_vjp(torch.sin)
        sine.defvjp(lambda x: (x.sin(), x), lambda x, cotangent: (s * cotangent,))
    return sine


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_rules_that_close_over_what_is_mapped(kind):
    one, many = torch.tensor(1.0), torch.tensor([2.0, 3.0])
    inside = pax.vmap(lambda s: pax.grad(scaled_rule(kind, s))(one))
    assert inside(many).tolist() == [2, 3]
    outside = lambda x: pax.vmap(lambda s: scaled_rule(kind, s)(x))(many).sum()  # noqa: E731
    for derivative in (pax.grad(outside), pax.jacfwd(outside)):
        with pytest.raises(
            RuntimeError, match=r"the rule closes over a tensor .* mapped around it"
        ):
            derivative(one)
    with pytest.raises(RuntimeError, match="the rule closes over a tensor"):
        pax.vmap(pax.grad(outside))(one[None])


def test_mapped_arguments_without_derivative_of_custom_jvp():
    scale = pax.custom_jvp(lambda s, x: s * x, nondiff_argnums=0)
    scale.defjvp(lambda s, primals, tangents: (s * primals[0], 5 * s * tangents[0]))
    many = torch.tensor([2.0, 3.0])
    assert pax.vmap(pax.grad(scale, 1))(many, many).tolist() == [10, 15]
    with pytest.raises(TypeError, match="nondiff_argnums, but has a tensor that is being"):
        pax.grad(lambda s: scale(s, s))(many[0])
