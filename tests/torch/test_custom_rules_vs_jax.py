"""Rules of JAX's kinds: linear functions, closed-over tensors, numbers, nondiff names, symbolic zeros."""
# ruff: noqa: E731

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import pax_torch as pax

X = [0.5, -1.0, 2.0]


def array(lib, values):
    return jnp.array(values) if lib is jax else torch.tensor(values)


def sums(lib, f):
    return lambda x: f(x).sum()


USES = {
    "value": lambda lib, f: f,
    "grad": lambda lib, f: lib.grad(sums(lib, f)),
    "grad grad": lambda lib, f: lib.grad(
        lambda x: (lib.grad(lambda x: (f(x) ** 2).sum())(x) ** 2).sum()
    ),
    "jvp": lambda lib, f: lambda x: lib.jvp(f, (x,), (x * 2,)),
    "vjp": lambda lib, f: lambda x: lib.vjp(f, x)[1](x * 2),
    "linearize": lambda lib, f: lambda x: lib.linearize(f, x)[1](x * 2),
    "jacfwd": lambda lib, f: lib.jacfwd(f),
    "jacrev": lambda lib, f: lib.jacrev(f),
    "hessian": lambda lib, f: lib.hessian(lambda x: (f(x) ** 2).sum()),
    "jacrev jacfwd": lambda lib, f: lib.jacrev(lib.jacfwd(lambda x: (f(x) ** 3).sum())),
    "vmap grad": lambda lib, f: lib.vmap(lib.grad(lambda x: f(x) ** 2)),
    "vmap hessian": lambda lib, f: lib.vmap(lib.hessian(lambda x: f(x) ** 2)),
    "grad vmap": lambda lib, f: lib.grad(lambda x: (lib.vmap(f)(x) ** 2).sum()),
    "jit grad": lambda lib, f: (
        jax.jit(jax.grad(sums(lib, f)))
        if lib is jax
        else pax.jit(pax.grad(sums(lib, f)), backend="eager")
    ),
}


def same_as_in_jax(use, make, values=X):
    found = USES[use](pax, make(pax))(array(pax, values))
    expected = USES[use](jax, make(jax))(array(jax, values))
    for x, y in zip(pax.tree_leaves(found), pax.tree_leaves(expected), strict=True):
        torch.testing.assert_close(torch.as_tensor(x), torch.tensor(np.asarray(y).tolist()))


def itself(lib):
    """A linear function, whose derivative is itself."""
    f = lib.custom_jvp(lambda x: 2 * x)
    f.defjvp(lambda p, t: (f(*p), f(*t)))
    return f


def each_other(lib):
    f, g = lib.custom_jvp(lambda x: 2 * x), lib.custom_jvp(lambda x: x * 2)
    f.defjvp(lambda p, t: (f(*p), g(*t)))
    g.defjvp(lambda p, t: (g(*p), f(*t)))
    return f


def product(lib):
    """Its rule applies another function with a rule to tangents."""
    times = lib.custom_jvp(lambda x, y: x * y)
    times.defjvp(lambda p, t: (times(*p), times(p[0], t[1]) + times(t[0], p[1])))
    return lambda x: times(x, x + 1)


def mapped_inside(lib):
    f = itself(lib)
    g = lib.custom_jvp(lambda x: 2 * x)
    apply = lambda x: lib.vmap(f)(x) if x.ndim else f(x)
    g.defjvp(lambda p, t: (apply(*p), apply(*t)))
    return g


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("make", [itself, each_other, product, mapped_inside])
def test_rules_that_apply_functions_with_rules_to_tangents(make, use):
    same_as_in_jax(use, make)


def log1pexp(lib):
    m = jnp if lib is jax else torch
    f = lib.custom_jvp(lambda x: m.log(1 + m.exp(x)))
    f.defjvp(lambda p, t: (f(*p), (1 - 1 / (1 + m.exp(p[0]))) * t[0]))
    return f


ARITHMETIC = {
    "times": lambda x: 2.0 * x * 3.0,
    "plus": lambda x: 1.5 + (x + 2.5),
    "minus": lambda x: 1.5 - (x - 0.5),
    "over": lambda x: 1.5 / (x / 2.5),
    "in place": lambda x: (x * 1).mul_(2.0).add_(1.0).div_(3.0),
    "named": lambda x: torch.add(torch.mul(x, 2.0), 1.0, alpha=2).sub(0.5).true_divide(3.0),
    "numpy": lambda x: x * np.float32(2.0) + np.float64(1.0),
    "power": lambda x: (2.0 * x) ** 2.0 + 2.0**x,
}
FORWARD = {
    "jvp": lambda f, x: pax.jvp(f, (x,), (torch.ones_like(x),))[1],
    "jacfwd": lambda f, x: pax.jacfwd(f)(x),
    "hessian": lambda f, x: pax.hessian(f)(x),
    "hvp": lambda f, x: pax.hvp(f, (x,), (torch.ones_like(x),)),
    "jvp jvp": lambda f, x: pax.jvp(lambda x: pax.jvp(f, (x,), (x,))[1], (x,), (x,))[1],
    "vmap hessian": lambda f, x: pax.vmap(pax.hessian(f))(x[None])[0],
    "jit jvp": lambda f, x: pax.jit(lambda x: pax.jvp(f, (x,), (x,))[1], backend="eager")(x),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("use", FORWARD)
@pytest.mark.parametrize("name", ARITHMETIC)
def test_tangents_of_scalars_keep_their_dtype(name, use, dtype):
    f, x = ARITHMETIC[name], torch.tensor(0.75, dtype=dtype)
    found = FORWARD[use](f, x)
    assert found.dtype == dtype
    expected = FORWARD[use](f, x.double())
    torch.testing.assert_close(found.double(), expected, rtol=2e-2, atol=1e-2)
    assert FORWARD["jvp"](lambda y: y.sum(), x[None]).dtype == dtype
    assert pax.jvp(f, (x,), (x,))[0].equal(f(x))  # the value to the last bit


def test_tangents_of_scalars_go_on_to_matrices():
    """Where PyTorch's, in another dtype, are refused."""
    w = torch.arange(9.0).reshape(3, 3)
    out, tangent = pax.jvp(
        lambda x: (2.0 * x).expand(3) @ w, (torch.tensor(3.0),), (torch.tensor(1.0),)
    )
    torch.testing.assert_close(tangent, out / 3)
    f = lambda v: (2.0 * (w @ v).sum()) ** 2
    torch.testing.assert_close(
        pax.hvp(f, (torch.ones(3),), (torch.ones(3),)), torch.func.hessian(f)(torch.ones(3)).sum(1)
    )


@pytest.mark.parametrize("use", ["jvp", "jacfwd", "hessian", "vmap hessian", "jvp jvp", "hvp"])
@pytest.mark.parametrize("make", [log1pexp, itself])
def test_rules_of_scalars_times_a_number(make, use):
    f = make(pax)
    x = torch.tensor(0.5)
    plain = {log1pexp: lambda x: torch.log(1 + torch.exp(2.0 * x)), itself: lambda x: 4.0 * x}[make]
    torch.testing.assert_close(FORWARD[use](lambda x: f(2.0 * x), x), FORWARD[use](plain, x))


def closes_by_jvp(x):
    f = pax.custom_jvp(lambda y: x * y)
    f.defjvp(lambda p, t: (f(*p), x * t[0]))
    return f


def closes_by_vjp(x):
    f = pax.custom_vjp(lambda y: x * y)
    f.defvjp(lambda y: (x * y, None), lambda _, g: (x * g,))
    return f


CLOSED = {
    "grad": lambda make: pax.grad(lambda x: make(x)(2.0 + 0 * x))(3.0),
    "vjp": lambda make: pax.vjp(lambda x: make(x)(2.0 + 0 * x), 3.0),
    "jvp": lambda make: pax.jvp(lambda x: make(x)(2.0 + 0 * x), (3.0,), (1.0,)),
    "jvp of constants": lambda make: pax.jvp(lambda x: make(x)(2.0), (3.0,), (1.0,)),
    "jacfwd": lambda make: pax.jacfwd(lambda x: make(x)(2.0 + 0 * x))(3.0),
    "jacrev": lambda make: pax.jacrev(lambda x: make(x)(2.0 + 0 * x))(3.0),
    "hessian": lambda make: pax.hessian(lambda x: make(x)(x))(3.0),
    "grad grad": lambda make: pax.grad(pax.grad(lambda x: make(x)(x)))(3.0),
    "inner grad": lambda make: pax.grad(lambda x: pax.grad(lambda y: make(x)(y * y))(2.0))(3.0),
    "jit grad": lambda make: pax.jit(pax.grad(lambda x: make(x)(x)), backend="eager")(3.0),
    "vjp vmap": lambda make: pax.vjp(
        lambda z: pax.vmap(lambda x: make(x)(z * x))(torch.ones(3)), torch.tensor(1.0)
    ),
    "grad of an inner grad": lambda make: pax.grad(lambda x: _with_inner_grad(x)(2.0 + 0 * x))(3.0),
}


def _with_inner_grad(x):
    f = pax.custom_vjp(lambda y: pax.grad(lambda z: x * z**2)(y))
    f.defvjp(lambda y: (f(y), None), lambda _, g: (2 * g,))
    return f


@pytest.mark.parametrize("use", CLOSED)
@pytest.mark.parametrize("make", [closes_by_jvp, closes_by_vjp])
def test_a_derivative_that_would_be_lost_is_refused(make, use):
    with pytest.raises(
        RuntimeError, match=r"the function closes over a tensor of shape .* pass it as"
    ):
        CLOSED[use](make)


MAPPED = {
    "vmap": lambda lib, m, xs: lib.vmap(lambda x: m(lib, x)(2.0 * x))(xs),
    "vmap grad": lambda lib, m, xs: lib.vmap(lambda x: lib.grad(lambda y: m(lib, x)(y * y))(2.0))(
        xs
    ),
    "vmap jvp": lambda lib, m, xs: lib.vmap(
        lambda x: lib.jvp(lambda y: m(lib, x)(y * y), (2.0,), (1.0,))
    )(xs),
    "vmap vmap": lambda lib, m, xs: lib.vmap(lambda x: lib.vmap(lambda y: m(lib, x)(y))(xs))(xs),
    "grad vmap": lambda lib, m, xs: lib.grad(
        lambda z: lib.vmap(lambda x: m(lib, x)(z * x))(xs).sum()
    )(1.0),
    "vmap grad vmap": lambda lib, m, xs: lib.vmap(
        lambda x: lib.grad(lambda z: lib.vmap(lambda y: m(lib, x)(y))(z).sum())(xs)
    )(xs),
}


@pytest.mark.parametrize("use", MAPPED)
def test_closing_over_what_is_mapped(use):
    def make(lib, x):
        f = lib.custom_jvp(lambda y: x * y)
        f.defjvp(lambda p, t: (f(*p), x * t[0]))
        return f

    found, expected = (MAPPED[use](lib, make, array(lib, X)) for lib in (pax, jax))
    for x, y in zip(pax.tree_leaves(found), pax.tree_leaves(expected), strict=True):
        torch.testing.assert_close(x, torch.tensor(np.asarray(y).tolist()))


def test_closing_over_constants_and_stopped_tensors():
    scale = torch.tensor(3.0)

    def f(x):
        inside = scale * 2.0
        g = pax.custom_jvp(lambda y: inside * y * pax.stop_gradient(x))
        g.defjvp(lambda p, t: (g(*p), inside * t[0]))
        return g(x)

    for derivative in (pax.grad, pax.jacfwd, pax.jacrev):
        torch.testing.assert_close(derivative(f)(torch.tensor(2.0)), torch.tensor(6.0))


def test_a_function_that_takes_derivatives_itself():
    f = pax.custom_vjp(lambda y: pax.grad(lambda z: z**3)(y))
    f.defvjp(lambda y: (f(y), y), lambda y, g: (6 * y * g,))
    for derivative in (pax.grad, pax.jacfwd, pax.jacrev):
        torch.testing.assert_close(
            derivative(lambda x: f(x * 1.0))(torch.tensor(2.0)), torch.tensor(12.0)
        )


@pytest.mark.parametrize("custom", ["custom_jvp", "custom_vjp"])
def test_nondiff_argnames(custom):
    def make(lib):
        f = getattr(lib, custom)(lambda n, x, m: x * n * m, nondiff_argnames=("n", "m"))
        if custom == "custom_jvp":
            f.defjvp(lambda n, m, p, t: (f(n, *p, m), 10.0 * n * m * t[0]))
        else:
            f.defvjp(lambda n, x, m: (f(n, x, m), None), lambda n, m, _, g: (10.0 * n * m * g,))
        return f

    found, expected = (lib.grad(lambda x: make(lib)(2, x, m=3))(1.0) for lib in (pax, jax))
    assert float(found) == float(expected) == 60.0
    with pytest.raises(ValueError, match=r"nondiff_argnames has 'k', but the arguments of"):
        getattr(pax, custom)(lambda x: x, nondiff_argnames="k")


@pytest.mark.parametrize("custom", ["custom_jvp", "custom_vjp"])
def test_partial_functions(custom):
    def make(lib):
        f = getattr(lib, custom)(partial(lambda n, x, k=2.0: n * x * k, 3.0, k=5.0))
        if custom == "custom_jvp":
            f.defjvp(lambda p, t: (f(*p), 15.0 * t[0]))
        else:
            f.defvjp(lambda x: (f(x), None), lambda _, g: (15.0 * g,))
        return f

    found, expected = (lib.value_and_grad(make(lib))(1.0) for lib in (pax, jax))
    assert [float(x) for x in found] == [float(x) for x in expected] == [15.0, 15.0]
    with pytest.raises(TypeError, match=r"k of .* can only be given by keyword"):
        make(pax)(1.0, k=3.0)


def test_symbolic_zeros():
    seen = []
    f = pax.custom_jvp(lambda x, y: x * y)

    def rule(primals, tangents):
        seen.append([t is None for t in tangents])
        return f(*primals), tangents[0] * primals[1]

    f.defjvp(rule, symbolic_zeros=True)
    for derivative in (pax.grad, pax.jacfwd, pax.jacrev):
        assert derivative(lambda x: f(x, 3.0))(torch.tensor(2.0)) == 3.0
    assert seen == [[False, True]] * 3
    f.defjvp(rule)
    pax.grad(lambda x: f(x, 3.0))(2.0)
    assert seen[-1] == [False, False]


GRADIENTS = {
    "one": (lambda x: (x**3, lambda g: 5.0 * g * x), 1),
    "a tuple": (lambda x: (x**3, lambda g: (5.0 * g * x,)), 1),
    "two": (lambda x, y: (x * y, lambda g: (g * y * 2.0, g * x * 3.0)), 2),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_custom_gradient(name):
    fun, count = GRADIENTS[name]
    args, argnums = (2.0, 3.0)[:count], tuple(range(count))
    for use in (
        lambda lib, f: lib.grad(f, argnums),
        lambda lib, f: lib.jacrev(lib.grad(f), argnums),
    ):
        found = use(pax, pax.custom_gradient(fun))(*args)
        expected = use(jax, jax.custom_gradient(fun))(*args)
        assert [float(x) for x in found] == [float(x) for x in expected]
    mapped = pax.vmap(pax.grad(pax.custom_gradient(fun), argnums))
    torch.testing.assert_close(
        mapped(*[torch.full((2,), x) for x in args])[0][1],
        pax.grad(pax.custom_gradient(fun), argnums)(*args)[0],
    )


@pytest.mark.parametrize("use", ["grad", "vjp", "vmap grad", "jit grad", "vmapped argument"])
@pytest.mark.parametrize("varied", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("used", ["product", "sum"])
def test_symbolic_zeros_of_custom_vjp(use, varied, used):
    """What is perturbed, and of which results there is a cotangent, are known to the rule."""

    def make(lib):
        @lib.custom_vjp
        def f(d, n):
            return {"product": d["x"] * d["y"] * n, "sum": d["x"] + d["y"]}

        def fwd(d, n):
            x, y = d["x"], d["y"]
            assert not n.perturbed
            out = {"product": x.value * y.value * n.value, "sum": x.value + y.value}
            return out, (x.value, y.value, x.perturbed, y.perturbed)

        def bwd(residuals, cotangents):
            x, y, *perturbed = residuals
            is_zero = [
                c is None or type(c).__name__ == "SymbolicZero"
                for c in (cotangents["product"], cotangents["sum"])
            ]
            code = sum(2**i for i, flag in enumerate([*perturbed, *is_zero]) if flag)
            return {"x": x * 0 + code, "y": y * 0 + 100 * code}, None

        f.defvjp(fwd, bwd, symbolic_zeros=True)

        def loss(*given):
            values = dict(zip(varied, given, strict=True))
            d = {"x": values.get(0, 2.0), "y": values.get(1, 3.0)}
            return f(d, 4)[used]

        grad = lib.grad(loss, tuple(range(len(varied))))
        args = [array(lib, 0.5 + i) for i in varied]
        if use == "vjp":
            return lib.vjp(loss, *args)[1](array(lib, 1.0))
        if use == "jit grad":
            return lib.jit(grad, **({} if lib is jax else {"backend": "eager"}))(*args)
        if use == "vmap grad":
            return lib.vmap(grad)(*[array(lib, [1.0, 2.0])] * len(args))
        if use == "vmapped argument":
            return lib.vmap(lambda _: grad(*args))(array(lib, [1.0, 2.0]))
        return grad(*args)

    found, expected = make(pax), make(jax)
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, torch.tensor(np.asarray(y).tolist()))


@pytest.mark.parametrize("use", ["grad", "jvp", "vjp", "jacfwd", "hessian", "vmap hessian"])
def test_closure_convert(use):
    """The way to give a rule what a function closes over."""

    def make(lib):
        m = jnp if lib is jax else torch

        def outer(x):
            converted, consts = lib.closure_convert(lambda y: m.sin(x) * y + x, 1.0 * x)
            f = lib.custom_jvp(converted)

            def rule(primals, tangents):
                return lib.jvp(converted, primals, tangents)

            f.defjvp(rule)
            return f(x * x, *consts)

        return outer

    same_as_in_jax(use, make, [0.5, 1.5] if use == "vmap hessian" else 0.5)


@pytest.mark.parametrize("use", ["grad", "jvp", "vjp", "jacfwd", "hessian", "vmap hessian"])
def test_closure_convert_of_a_function_that_is_given_what_it_closes_over(use):
    """The argument and the constant are one tensor, and are told apart all the same."""

    def make(lib):
        def outer(x):
            converted, consts = lib.closure_convert(lambda y: x * y**2, x)
            tripled = [3 * const for const in consts]
            return converted(x, *tripled) + converted(*consts, *consts)

        return outer

    same_as_in_jax(use, make, [0.5, 1.5] if use == "vmap hessian" else 0.5)


def test_closure_convert_without_closed_over_tensors():
    w = torch.ones(2)
    converted, consts = pax.closure_convert(lambda y: w * y, 2.0)
    assert consts == []
    assert converted(3.0).tolist() == [3.0, 3.0]
    v = torch.ones(2, requires_grad=True)
    converted, consts = pax.closure_convert(lambda y: (v, v * y), 2.0)
    assert consts[0] is v
    assert len(consts) == 1
    assert pax.tree_map(torch.Tensor.tolist, converted(3.0, 5 * w)) == ([5.0, 5.0], [15.0, 15.0])
    with pytest.raises(TypeError, match="takes 1 tensors after the arguments"):
        converted()
