"""custom_vjp and custom_jvp: the rule is used, under every transform, and errors say what is wrong."""
# ruff: noqa: E731

import gc
from functools import partial

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import pax_torch as pax

X = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)


def same(tree, other):
    torch.testing.assert_close(tree, other)


def with_vjp():
    """sin(a) * b + c, by a rule that is right."""

    @pax.custom_vjp
    def f(t, c=0.0):
        return {"out": t["a"].sin() * t["b"] + c, "none": None}

    def fwd(t, c):
        out = f(t, c)
        return out, (t["a"].cos(), t, "text")

    def bwd(residuals, g):
        cos, t, _ = residuals
        return {"a": g["out"] * cos * t["b"], "b": g["out"] * t["a"].sin()}, g["out"]

    f.defvjp(fwd, bwd)
    return f


def with_jvp():
    @pax.custom_jvp
    def f(t, c=0.0):
        return {"out": t["a"].sin() * t["b"] + c, "none": None}

    @f.defjvp
    def rule(primals, tangents):
        (t, c), (dt, dc) = primals, tangents
        d = dt["a"] * t["a"].cos() * t["b"] + dt["b"] * t["a"].sin() + dc
        return f(t, c), {"out": d, "none": None}

    return f


def with_jvps():
    @pax.custom_jvp
    def f(t, c=0.0):
        return {"out": t["a"].sin() * t["b"] + c, "none": None}

    f.defjvps(
        lambda dt, out, t, c: {
            "out": dt["a"] * t["a"].cos() * t["b"] + dt["b"] * t["a"].sin(), "none": None
        },
        lambda dc, out, t, c: {"out": dc.expand_as(out["out"]), "none": None},
    )  # fmt: skip
    return f


def plain():
    return lambda t, c=0.0: {"out": t["a"].sin() * t["b"] + c, "none": None}


RULES = {"custom_vjp": with_vjp, "custom_jvp": with_jvp, "defjvps": with_jvps}
# What is done with f, as a function of one tensor of shape (2, 3).
USES = {
    "value": lambda f: f,
    "grad": lambda f: pax.grad(lambda x: f(x).square().sum()),
    "grad grad": lambda f: pax.grad(lambda x: pax.grad(lambda x: f(x).square().sum())(x).sin().sum()),
    "grad grad grad": lambda f: pax.vmap(pax.vmap(pax.grad(pax.grad(pax.grad(f))))),
    "jvp": lambda f: lambda x: pax.jvp(f, (x,), (x,)),
    "vjp": lambda f: lambda x: pax.vjp(f, x)[1](x),
    "linearize": lambda f: lambda x: pax.linearize(f, x)[1](x),
    "jacfwd": lambda f: pax.jacfwd(f),
    "jacrev": lambda f: pax.jacrev(f),
    "hessian": lambda f: pax.hessian(lambda x: f(x).square().sum()),
    "jacfwd jacfwd": lambda f: pax.jacfwd(pax.jacfwd(f)),
    "vmap jacfwd jacfwd": lambda f: pax.vmap(pax.jacfwd(pax.jacfwd(f))),
    "jvp jvp vmap vmap": lambda f: lambda x: pax.jvp(
        lambda x: pax.jvp(pax.vmap(pax.vmap(f)), (x,), (x,)), (x,), (x,)
    ),
    "checkpoint": lambda f: pax.grad(lambda x: pax.checkpoint(f)(x).square().sum()),
    "jacrev jacfwd": lambda f: pax.jacrev(pax.jacfwd(f)),
    "hvp": lambda f: lambda x: pax.hvp(lambda x: f(x).square().sum(), (x,), (x,)),
    "vmap": lambda f: pax.vmap(f, 1, -1),
    "vmap vmap": lambda f: pax.vmap(pax.vmap(f)),
    "vmap grad": lambda f: pax.vmap(pax.grad(lambda x: f(x).square().sum())),
    "grad vmap": lambda f: pax.grad(lambda x: pax.vmap(f, 1)(x).square().sum()),
    "vmap jvp": lambda f: pax.vmap(lambda x: pax.jvp(f, (x,), (x,))),
    "jvp vmap": lambda f: lambda x: pax.jvp(pax.vmap(f), (x,), (x,)),
    "vmap hessian": lambda f: pax.vmap(pax.hessian(lambda x: f(x).square().sum())),
    "func.grad": lambda f: torch.func.grad(lambda x: f(x).square().sum()),
    "func.hessian": lambda f: torch.func.hessian(lambda x: f(x).square().sum()),
    "func.vmap grad": lambda f: torch.func.vmap(pax.grad(lambda x: f(x).square().sum())),
}  # fmt: skip


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_right_rule_changes_nothing(rule, use):
    f, g = rule(), plain()
    found = use(lambda x: f({"a": x, "b": x * 2}, x)["out"])(X)
    same(found, use(lambda x: g({"a": x, "b": x * 2}, x)["out"])(X))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_finite_differences(rule):
    f = rule()
    g = lambda a, b, c: f({"a": a, "b": b}, c)["out"]
    args = [X.clone().requires_grad_() for _ in range(3)]
    assert gradcheck(g, args, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(g, args)


@pytest.mark.parametrize("use", ["grad", "vjp", "jacrev", "vmap grad", "func.grad", "hessian"])
def test_the_rule_is_used(use):
    @pax.custom_vjp
    def f(x):
        return x * 1

    f.defvjp(lambda x: (x * 1, None), lambda _, g: (3 * g,))
    g = lambda x: 3 * x - 2 * x.detach()
    same(USES[use](f)(X), USES[use](g)(X))


def test_undifferentiated_calls_run_the_function_itself():
    @pax.custom_vjp
    def f(x):
        return x * 2

    f.defvjp(lambda x: 1 / 0, lambda res, g: 1 / 0)
    same(f(X), 2 * X)
    with torch.no_grad():
        f(X.clone().requires_grad_())


def test_nondiff_argnums():
    @partial(pax.custom_vjp, nondiff_argnums=(0, 2))
    def apply(fun, x, name):
        return fun(x)

    def bwd(fun, name, x, g):
        assert name == "name"
        return (pax.vjp(fun, x)[1](g)[0] * 2,)

    apply.defvjp(lambda fun, x, name: (fun(x), x), bwd)
    same(pax.grad(lambda x: apply(torch.sin, x, name="name"))(0.0), torch.tensor(2.0))

    @partial(pax.custom_jvp, nondiff_argnums=(0,))
    def also(fun, x):
        return fun(x)

    also.defjvp(lambda fun, p, t: (also(fun, *p), 3 * pax.jvp(fun, p, t)[1]))
    same(pax.grad(lambda x: also(torch.sin, x))(0.0), torch.tensor(3.0))
    same(pax.vmap(pax.grad(lambda x: also(torch.sin, x)))(torch.zeros(3)), torch.full((3,), 3.0))


@pytest.mark.parametrize("numbers", [(0, 2), (2, 0), [-1, 0, 0], (2, 0, -3), np.array([2, 0])])
def test_nondiff_arguments_come_in_their_order(numbers):
    f = pax.custom_vjp(lambda a, x, b: x * 1, numbers)
    f.defvjp(lambda a, x, b: (x * 1, None), lambda a, b, _, g: (g * a - b,))
    g = pax.custom_jvp(lambda a, x, b: x * 1, numbers)
    g.defjvp(lambda a, b, primals, tangents: (primals[0] * 1, tangents[0] * (a - b)))
    for function in (f, g):
        same(pax.grad(lambda x: function(5, x, 2))(1.0), torch.tensor(3.0))


@pytest.mark.parametrize("number", [0, np.int64(0), -2])
def test_one_nondiff_argument(number):
    f = pax.custom_vjp(lambda n, x: x * n, number)
    f.defvjp(lambda n, x: (x * n, None), lambda n, _, g: (g * n,))
    same(pax.grad(lambda x: f(4, x))(1.0), torch.tensor(4.0))


def test_integers_and_constants_among_the_arguments():
    @pax.custom_vjp
    def f(x, n, s, t):
        assert s == "text"
        return x * n + t, n + 1

    f.defvjp(lambda x, n, s, t: (f(x, n, s, t), n), lambda n, g: (g[0] * n, None, None, g[0]))
    index = torch.tensor(3)
    g = lambda x: f(x, index, "text", 2.0)[0]
    same(pax.grad(g)(1.0), torch.tensor(3.0))
    same(pax.vmap(pax.grad(g))(torch.ones(2)), torch.full((2,), 3.0))

    @pax.custom_jvp
    def h(x, n):
        return x * n

    h.defjvp(lambda p, t: (h(*p), t[0] * p[1] if t[1] is None else 1 / 0))
    same(pax.grad(lambda x: h(x, index))(1.0), torch.tensor(3.0))


def test_result_that_is_an_argument_or_comes_twice():
    @pax.custom_vjp
    def f(x):
        y = x * 2
        return x, y, y

    f.defvjp(lambda x: (f(x), x), lambda x, g: (g[0] + 10 * g[1] + 100 * g[2],))
    for use in ("jacrev", "jacfwd", "vmap grad"):
        found = USES[use](lambda x: f(x)[0] + f(x)[1] + f(x)[2])(X)
        same(found, USES[use](lambda x: x + 10 * x + 100 * x + (5 - 111) * x.detach())(X))


FORMS = {
    "grad": lambda f: pax.grad(lambda x: f(x)[0].sum())(X),
    "jvp": lambda f: pax.jvp(f, (X,), (X,)),
    "jvp jvp": lambda f: pax.jvp(lambda x: pax.jvp(f, (x,), (x,)), (X,), (X,)),
    "vjp": lambda f: pax.vjp(f, X)[1]((X, None))[0],
    "linearize": lambda f: pax.linearize(f, X)[1](X),
    "jacfwd": lambda f: pax.jacfwd(f)(X),
    "jacrev": lambda f: pax.jacrev(f)(X),
    "hessian": lambda f: pax.hessian(f)(X),
    "hvp": lambda f: pax.hvp(lambda x: f(x)[0].sum(), (X,), (X,)),
    "vmap jvp": lambda f: pax.vmap(lambda x: pax.jvp(f, (x,), (x,)))(X),
    "vmap hessian": lambda f: pax.vmap(pax.hessian(f))(X),
}


@pytest.mark.parametrize("use", FORMS.values(), ids=FORMS.keys())
def test_rule_without_derivative_or_with_integers(use):
    def zero(x):
        return x * 2, x.argmax()

    by_vjp, by_jvp = pax.custom_vjp(zero), pax.custom_jvp(zero)
    by_vjp.defvjp(lambda x: (zero(x), None), lambda _, g: (None,))
    by_jvp.defjvp(lambda p, t: (zero(*p), (None, None)))
    for f in (by_vjp, by_jvp):
        same(use(f), use(lambda x: (x.detach() * 2 + 0 * x, x.argmax())))

    integers = pax.custom_vjp(lambda x: x.argmax())
    integers.defvjp(lambda x: (x.argmax(), None), lambda _, g: 1 / 0)
    same(use(lambda x: (x**2, integers(x))), use(lambda x: (x**2, x.argmax())))


def test_random_numbers_of_the_forward_pass_are_those_of_second_order():
    @pax.custom_vjp
    def f(x):
        return fwd(x)[0]

    def fwd(x):
        mask = torch.bernoulli(torch.full_like(x, 0.5))
        return (mask * x**2).sum(), (mask, x)

    f.defvjp(fwd, lambda res, g: (2 * g * res[0] * res[1],))
    for seed in range(5):
        torch.manual_seed(seed)
        value, gradient = pax.value_and_grad(f)(torch.ones(8))
        torch.manual_seed(seed)
        hessian = pax.jacrev(pax.grad(f))(torch.ones(8))
        same(value, gradient.sum() / 2)
        same(hessian.sum(), gradient.sum())


def test_no_tensor_stays_alive():
    steps = [
        lambda f=f: pax.grad(lambda x: f({"a": x, "b": x}, x)["out"].sum())(X)
        for f in (with_vjp(), with_jvp())
    ]
    count = lambda: sum(issubclass(type(x), torch.Tensor) for x in gc.get_objects())
    for step in steps:
        step()
        gc.collect()
        gc.disable()
        try:
            before = count()
            for _ in range(100):
                step()
            assert count() < before + 10  # far less than one a step
        finally:
            gc.enable()


class TestErrors:
    def test_no_rule(self):
        with pytest.raises(
            AttributeError, match="No VJP defined for custom_vjp function sin using"
        ):
            pax.custom_vjp(torch.sin)(X)
        with pytest.raises(
            AttributeError, match="No JVP defined for custom_jvp function sin using"
        ):
            pax.custom_jvp(torch.sin)(X)

    @pytest.mark.parametrize(
        ("fwd", "bwd", "error", "message"),
        [
            (lambda x: x, lambda r, g: (g,), TypeError, "fwd must return a pair .* got a tensor"),
            (lambda x: (x, 0), lambda r, g: g, TypeError, "bwd must return a tuple with 1 entries"),
            (lambda x: (x, 0), lambda r, g: (g, g), TypeError, "tuple with 1 entries"),
            (lambda x: (x, 0), lambda r, g: ([g],), ValueError, "bwd returns must have the struct"),
            (lambda x: (x, 0), lambda r, g: (g[0],), ValueError, r"bwd returns\[0\] has shape"),
            (lambda x: (x, 0), lambda r, g: (g.float(),), TypeError, "has dtype torch.float32"),
        ],
    )
    def test_vjp_rule(self, fwd, bwd, error, message):
        f = pax.custom_vjp(lambda x: x * 1)
        f.defvjp(fwd, bwd)
        with pytest.raises(error, match=message):
            pax.grad(lambda x: f(x).sum())(X)

    @pytest.mark.parametrize(
        ("rule", "error", "message"),
        [
            (lambda p, t: p[0], TypeError, "the rule must return a pair"),
            (lambda p, t: (p[0], [t[0]]), TypeError, "the tangent of .* expected a tensor"),
            (lambda p, t: (p[0], t[0][0]), ValueError, "has shape"),
            (lambda p, t: (p[0], t[0].float()), TypeError, "has dtype torch.float32"),
        ],
    )
    def test_jvp_rule(self, rule, error, message):
        f = pax.custom_jvp(lambda x: x * 1)
        f.defjvp(rule)
        with pytest.raises(error, match=message):
            pax.grad(lambda x: f(x).sum())(X)

    def test_nondiff_argument_that_is_differentiated(self):
        f = pax.custom_vjp(lambda x, y: x * y, nondiff_argnums=(0,))
        f.defvjp(lambda x, y: (x * y, None), lambda x, r, g: (g * x,))
        with pytest.raises(TypeError, match="argument 0 is in nondiff_argnums, but"):
            pax.grad(lambda x: f(x, x))(1.0)
        with pytest.raises(TypeError, match="argument 0 is in nondiff_argnums, but"):
            pax.vmap(lambda x: f(x, x))(X)
        f = pax.custom_vjp(lambda x, y: x * y, nondiff_argnums=(2,))
        f.defvjp(lambda x, y: (x * y, None), lambda x, r, g: (g * x,))
        with pytest.raises(TypeError, match="has 2 for 2 arguments"):
            f(1.0, 2.0)

    @pytest.mark.parametrize("numbers", ["0", 1.0, None, True, (0, "1"), {}])
    @pytest.mark.parametrize("custom", [pax.custom_vjp, pax.custom_jvp])
    def test_nondiff_argnums_type(self, custom, numbers):
        with pytest.raises(TypeError, match=f"{custom.__name__}: nondiff_argnums must be an int"):
            custom(lambda x, y: x, numbers)

    def test_keyword_only_arguments(self):
        f = pax.custom_vjp(lambda x, *, k: x)
        f.defvjp(lambda x: (x, None), lambda r, g: (g,))
        with pytest.raises(TypeError, match=r"k of .* can only be given by keyword"):
            f(X, k=1)

    def test_defjvps_with_nondiff_argnums(self):
        with pytest.raises(TypeError, match="defjvps cannot be used with nondiff_argnums"):
            pax.custom_jvp(lambda x, y: x, nondiff_argnums=(0,)).defjvps(None)
