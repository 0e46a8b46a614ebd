"""jit: traced once, the same results, derivatives of any order, and whole training steps."""
# ruff: noqa: E731

import threading

import numpy as np
import pytest
import torch
from torch import nn

import pax_torch as pax

# Compiling takes seconds; what is compiled is the same graph that "eager" runs.
jit = lambda f, *args, **kwargs: pax.jit(f, *args, backend="eager", **kwargs)
X = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)


def same(tree, other):
    torch.testing.assert_close(tree, other)


def counted(f):
    calls = []

    def g(*args, **kwargs):
        calls.append(1)
        return f(*args, **kwargs)

    return g, calls


def test_runs_in_python_once_per_signature():
    f, calls = counted(lambda t, s=1.0: {"out": t["a"] * s, "none": None})
    g = jit(f)
    for _ in range(3):
        same(g({"a": X}, 2.0), {"out": 2 * X, "none": None})
    assert len(calls) == 1
    same(g({"a": X}, s=3.0)["out"], 3 * X)
    g({"a": X.float()}, 2.0)
    g({"a": X[:1]}, 2.0)
    g({"a": X.T.contiguous().T}, 2.0)
    g({"a": X, "b": X}, 2.0)
    assert len(calls) == 6


def test_numbers_and_arrays_are_arguments():
    f, calls = counted(lambda x, n, a: x * n + a)
    g = jit(f)
    for n in (1, 2, 3):
        same(g(0.5, n, np.float64(n)), torch.tensor(1.5 * n, dtype=torch.float64))
    assert len(calls) == 1
    assert isinstance(jit(lambda x: (x, 3))(1.0)[1], torch.Tensor)


@pytest.mark.parametrize(
    "static", [{"static_argnums": 1}, {"static_argnums": (-1,)}, {"static_argnames": "n"}], ids=str
)
def test_static_arguments(static):
    f, calls = counted(lambda x, n: x * (n if n > 1 else -n))
    g = pax.jit(f_with_names(f), backend="eager", **static)
    same(g(X, 2), 2 * X)
    same(g(X, 1), -X)
    same(g(X, 2), 2 * X)
    assert len(calls) == 2
    same(g(X, 2.0), 2 * X)
    assert len(calls) == 3
    if "static_argnames" in static or static["static_argnums"] == 1:
        same(g(X, n=2), 2 * X)
        assert len(calls) == 4


PLACES = [0, 1, 2, -2, -3, "x", "n", "other"]
# Functions, and the static arguments that `jax.jit` refuses for them.
REFUSED = [
    (lambda x, n: x, [2, -3, "other"]),
    (lambda x, n=1, *rest: x, ["other"]),
    (lambda x, n, **more: x, [2, -3]),
    (lambda x, n, /: x, [2, -3, "x", "n", "other"]),
    (lambda x, *, n: x, [1, 2, -2, -3, "other"]),
]


@pytest.mark.parametrize(("f", "refused"), REFUSED)
@pytest.mark.parametrize("static", PLACES, ids=str)
def test_static_arguments_that_there_are(f, refused, static):
    options = {"static_argnames" if isinstance(static, str) else "static_argnums": static}
    if static in refused:
        with pytest.raises(ValueError, match="jit: static_arg"):
            jit(f, **options)
    else:
        assert callable(jit(f, **options))


def f_with_names(f):
    return lambda x, n: f(x, n)


def test_closed_over_tensors():
    weight = torch.ones(3, dtype=torch.float64)
    g = jit(lambda x: x * weight)
    same(g(X), X)
    weight.mul_(2)
    same(g(X), 2 * X)


def test_argument_that_is_the_result_or_comes_twice():
    same(jit(lambda x: (x, x, 2 * x))(X), (X, X, 2 * X))
    gradient = pax.grad(lambda x: sum(y.sum() for y in jit(lambda x: (x, x, 2 * x))(x)))(X)
    same(gradient, torch.full_like(X, 4))


def body(x):
    return (x.sin() * x).sum(0)


USES = {
    "grad": lambda f: pax.grad(lambda x: f(x).square().sum()),
    "grad grad": lambda f: pax.grad(
        lambda x: pax.grad(lambda x: f(x).square().sum())(x).sin().sum()
    ),
    "grad grad grad": lambda f: pax.grad(lambda x: pax.grad(lambda x: pax.grad(
        lambda x: f(x).square().sum())(x).sum())(x).sum()),
    "jvp": lambda f: lambda x: pax.jvp(f, (x,), (x,)),
    "vjp": lambda f: lambda x: pax.vjp(f, x)[1](x[0]),
    "hessian": lambda f: pax.hessian(lambda x: f(x).square().sum()),
    "vmap": lambda f: pax.vmap(f, 1),
    "vmap grad": lambda f: pax.vmap(pax.grad(lambda x: f(x).square().sum())),
    "checkpoint": lambda f: pax.grad(lambda x: pax.checkpoint(f)(x).sum()),
    "jit": lambda f: lambda x: jit(f)(x),
}  # fmt: skip


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_composes(use):
    same(use(jit(body))(X), use(body)(X))
    same(jit(use(body))(X), use(body)(X))
    same(jit(use(jit(body)))(X), use(body)(X))


# What PyTorch warns of when it compiles a function that is given a tensor with a graph.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_parts_in_python_compose(use):
    f = lambda x: use(body)(x + 1) if x.sum() > -5 else x
    same(pax.jit(f, fullgraph=False, backend="eager")(X), f(X))
    same(pax.jit(use(body), fullgraph=False, backend="eager")(X), use(body)(X))


SCHEDULES = {
    "closed form": lambda: pax.schedule.warmup_cosine(0.0, 1.0, 10, 100),
    "formula": lambda: pax.functional_schedule(torch.optim.lr_scheduler.StepLR, step_size=3),
    "function": lambda: pax.functional_schedule(
        torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda step: 0.9**step
    ),
}


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_schedules_can_be_compiled_after_parts_in_python(make):
    """Only transforms are kept from the compiler."""
    pax.jit(lambda x: x, fullgraph=False)
    rate = make()
    steps = torch.arange(20)
    compiled = torch.compile(lambda step: rate(step) * 2, backend="eager", fullgraph=True)
    same(compiled(steps), rate(steps) * 2)


def test_derivatives_are_compiled_too():
    f, calls = counted(lambda x: (x**3).sum())
    g = pax.grad(jit(f))
    for _ in range(5):
        same(g(X), 3 * X**2)
    assert len(calls) == 2
    x = X.clone().requires_grad_()
    assert torch.autograd.gradcheck(jit(f), x)
    assert torch.autograd.gradgradcheck(jit(f), x)


def test_derivatives_beside_numbers_and_arrays():
    f = lambda x: ((x**3).sum(), {"n": 3, "array": np.ones(2)})
    expected = (3 * X**2, {"n": torch.tensor(3), "array": torch.ones(2, dtype=torch.float64)})
    same(pax.grad(jit(f), has_aux=True)(X), expected)
    same(pax.vmap(pax.grad(jit(f), has_aux=True))(X)[0], expected[0])
    same(pax.jvp(jit(lambda x: (x, 3.0)), (X,), (X,))[0], (X, torch.tensor(3.0)))
    x = X.clone().requires_grad_()
    assert torch.autograd.gradcheck(jit(lambda x: (x**3, 2.0)), x)


def test_derivative_of_what_it_closes_over():
    found = pax.grad(lambda w: jit(lambda x: x * w.sum())(X).sum())(X)
    same(found, torch.full_like(X, X.sum().item()))
    weight = nn.Parameter(torch.tensor(2.0))
    assert not jit(lambda x: x * weight)(X).requires_grad


def test_custom_rules_are_used():
    f = pax.custom_vjp(lambda x: x * 1)
    f.defvjp(lambda x: (x * 1, None), lambda _, g: (g * 7,))
    same(pax.grad(jit(lambda x: f(x).sum()))(X), torch.full_like(X, 7))
    same(jit(pax.grad(lambda x: f(x).sum()))(X), torch.full_like(X, 7))


def sine_by_vjp():
    f = pax.custom_vjp(torch.sin)
    f.defvjp(lambda x: (f(x), x), lambda x, g: (g * x.cos(),))
    return f


def sine_by_jvp():
    f = pax.custom_jvp(torch.sin)
    f.defjvp(lambda p, t: (f(*p), t[0] * p[0].cos()))
    return f


@pytest.mark.parametrize(
    "rule",
    [sine_by_vjp, sine_by_jvp, lambda: pax.checkpoint(torch.sin)],
    ids=["vjp", "jvp", "checkpoint"],
)
@pytest.mark.parametrize("use", ["grad grad", "hessian", "vmap grad"])
def test_rules_of_higher_order(rule, use):
    expected = USES[use](torch.sin)(X)
    same(jit(USES[use](rule()))(X), expected)
    assert pax.eval_shape(USES[use](rule()), X).shape == expected.shape


def test_inputs_are_not_changed():
    x = torch.ones(3, requires_grad=True)
    out = jit(lambda x: x * 2)(x)
    assert out.requires_grad
    assert (x.grad, x.is_leaf) == (None, True)
    with torch.no_grad():
        assert not jit(lambda x: x * 2)(x).requires_grad


def training(optimizer, compile):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
    forward, params, buffers = pax.functional_module(net), pax.get_params(net), pax.get_buffers(net)
    x, y = torch.randn(16, 3), torch.randn(16, 1)

    def loss(params, buffers, x):
        out, buffers = forward(params, x, buffers=buffers, is_training=True)
        return (out - y).square().mean(), buffers

    def step(params, buffers, state, x):
        value_and_grad = pax.value_and_grad(loss, has_aux=True)
        (value, buffers), grads = value_and_grad(params, buffers, x)
        params, state = optimizer.step(params, grads, state)
        return value, params, buffers, state

    step, state = compile(step), optimizer.init(params)
    for _ in range(3):
        value, params, buffers, state = step(params, buffers, state, x)
    return value, params, buffers


OPTIMIZERS = {
    "SGD": pax.functional_optimizer(torch.optim.SGD, lr=0.1, momentum=0.9),
    "AdamW": pax.functional_optimizer(torch.optim.AdamW, lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_step_is_one_graph(name):
    optimizer = OPTIMIZERS[name]
    same(training(optimizer, jit), training(optimizer, lambda step: step))


def test_training_step_compiled_by_inductor():
    optimizer = OPTIMIZERS["SGD"]
    compiled = training(optimizer, lambda step: pax.jit(step, fullgraph=True))
    torch.testing.assert_close(
        compiled, training(optimizer, lambda step: step), rtol=1e-4, atol=1e-5
    )


def test_derivative_of_recurrent_layers():
    net = nn.LSTM(3, 4, num_layers=2, bidirectional=True).double()
    forward, params = pax.functional_module(net), pax.get_params(net)
    gradient = pax.grad(lambda params, x: forward(params, x)[0][0].square().sum())
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    same(jit(gradient)(params, x), gradient(params, x))
    single, x = pax.tree_cast(params, torch.float32), x.float()
    same(jit(gradient)(single, x), gradient(single, x))
    assert torch.backends.mkldnn.enabled


def test_threads():
    f = lambda x: (x**2).sum()
    g, gradient = jit(f), pax.grad(jit(f))
    wrong = []

    def work(i):
        for _ in range(10):
            if not torch.equal(g(X + i), ((X + i) ** 2).sum()):
                wrong.append(i)
            if not torch.equal(gradient(X + i), 2 * (X + i)):
                wrong.append(-i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class TestErrors:
    def test_value_of_a_tensor(self):
        with pytest.raises(TypeError, match=r"jit runs the function .* static_argnums"):
            jit(lambda x: x if x.sum() > 0 else -x)(X)

    def test_part_that_cannot_be_compiled(self):
        g = pax.jit(lambda x: x * 2 if x.sum() > 0 else -x, fullgraph=False, backend="eager")
        same((g(X + 3), g(X - 3)), (2 * X + 6, 3 - X))

    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (lambda: pax.jit(3), TypeError, "jit expected a callable, got 3"),
            (lambda: jit(lambda x: x)("text"), TypeError, "argument 0: expected a tensor"),
            (lambda: jit(lambda *, k: k)(k={"a": "b"}), TypeError, r"keyword argument \['k'\]\['a'\]"),
            (lambda: jit(lambda x: "text")(X), TypeError, "the result of jit: expected a tensor"),
            (lambda: jit(lambda x, n: x, 1)(X, []), ValueError, r"argument 1 is \[\] of type list"),
            (lambda: jit(lambda x, n: x, 1)(X, n=[]), ValueError, "argument 'n' is"),
            (lambda: jit(lambda x: x, "0"), TypeError, "static_argnums must be integers"),
            (lambda: jit(lambda x: x, 1), ValueError, "static_argnums contains 1"),
            (lambda: jit(lambda x: x, -2), ValueError, "static_argnums contains -2"),
            (lambda: jit(lambda x: x, None, "n"), ValueError, "contains 'n', .* it has x"),
            (lambda: jit(lambda x, /: x, None, "x"), ValueError, "it has none"),
            (lambda: jit(lambda x: x, None, [0]), TypeError, "static_argnames must be strings"),
        ],
    )  # fmt: skip
    def test_arguments(self, call, error, message):
        with pytest.raises(error, match=message):
            call()

    def test_error_in_the_function(self):
        with pytest.raises(KeyError, match="mine"):
            jit(lambda x: {}["mine"])(X)
