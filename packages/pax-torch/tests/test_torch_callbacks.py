"""Functions in Python that transformed and compiled functions call."""

import pytest
import torch

import pax_torch as pax
from pax_torch import ShapeDtypeStruct

X = torch.arange(6.0).reshape(3, 2)


def doubled(x, vmap_method=None, seen=None):
    def callback(x):
        if seen is not None:
            seen.append(tuple(x.shape))
        return 2 * x.numpy()

    like = ShapeDtypeStruct(tuple(x.shape), x.dtype)
    return pax.pure_callback(callback, like, x, vmap_method=vmap_method)


def test_pytrees_and_keywords():
    like = {"sum": torch.zeros(()), "n": ShapeDtypeStruct((), torch.int64)}
    found = pax.pure_callback(
        lambda tree, scale: {"sum": tree["x"].sum() * scale, "n": 3}, like, {"x": X}, scale=2.0
    )
    assert found["sum"] == 30
    assert found["n"] == 3
    assert found["n"].dtype == torch.int64


@pytest.mark.parametrize(
    ("vmap_method", "shapes"),
    [
        ("sequential", [(2,)] * 3),
        ("sequential_unrolled", [(2,)] * 3),
        ("expand_dims", [(3, 2)]),
        ("broadcast_all", [(3, 2)]),
    ],
)
def test_vmap_methods(vmap_method, shapes):
    seen = []
    out = pax.vmap(lambda x: doubled(x, vmap_method, seen))(X)
    assert torch.equal(out, 2 * X)
    assert seen == shapes
    nested = pax.vmap(pax.vmap(lambda x: doubled(x, vmap_method)))(X)
    assert torch.equal(nested, 2 * X)
    assert pax.vmap(lambda x: doubled(x, vmap_method))(X[:0]).shape == (0, 2)


@pytest.mark.parametrize(("vmap_method", "length"), [("expand_dims", 1), ("broadcast_all", 3)])
def test_arguments_that_are_not_mapped(vmap_method, length):
    shapes = []

    def callback(x, y):
        shapes.append(tuple(y.shape))
        return x + y

    def call(x, y):
        like = ShapeDtypeStruct((2,), x.dtype)
        return pax.pure_callback(callback, like, x, y, vmap_method=vmap_method)

    out = pax.vmap(call, (0, None))(X, X[0])
    assert torch.equal(out, X + X[0])
    assert shapes == [(length, 2)]


def test_a_mapped_call_must_say_how():
    with pytest.raises(NotImplementedError, match="pass vmap_method='sequential'"):
        pax.vmap(doubled)(X)
    with pytest.raises(ValueError, match="vmap_method must be None or one of sequential"):
        doubled(X, "parallel")


@pytest.mark.parametrize("derivative", [pax.grad, lambda f: lambda x: pax.jvp(f, (x,), (x,))])
def test_there_is_no_derivative(derivative):
    with pytest.raises(ValueError, match=r"pure_callback has no derivative; .*custom_jvp"):
        derivative(lambda x: doubled(x).sum())(X)


def test_a_derivative_by_a_rule():
    @pax.custom_vjp
    def double(x):
        return doubled(x, "sequential")

    double.defvjp(lambda x: (double(x), None), lambda _, g: (2 * g,))
    assert torch.equal(pax.grad(lambda x: double(x).sum())(X), torch.full_like(X, 2))
    assert torch.equal(pax.vmap(pax.grad(lambda x: double(x).sum()))(X), torch.full_like(X, 2))


@pytest.mark.parametrize(
    ("callback", "words"),
    [
        (lambda x: x, r"returns has type float32\[3,2\], but result_shape_dtypes has float32\[3\]"),
        (lambda x: x[:, 0].double(), r"returns has type float64\[3\]"),
        (lambda x: [x[:, 0]], "must have the structure of result_shape_dtypes"),
        (lambda x: "y", "expected a tensor"),
    ],
)
def test_results_that_are_not_as_declared(callback, words):
    with pytest.raises(TypeError, match=words):
        pax.pure_callback(callback, ShapeDtypeStruct((3,), torch.float32), X)


def test_a_type_must_be_declared():
    with pytest.raises(TypeError, match=r"result_shape_dtypes\[0\] must be a ShapeDtypeStruct"):
        pax.pure_callback(lambda x: x, [3], X)


def test_compiled_calls_run_each_time():
    seen = []

    step = pax.jit(lambda x: doubled(x, None, seen) + 1, backend="aot_eager")
    for scale in (1, 2):
        assert torch.equal(step(scale * X), 2 * scale * X + 1)
    assert seen == [(3, 2)] * 2


def shown(x):
    pax.debug.print("{} x={x}", 1, x=x)
    return (x**2).sum()


def test_print_shows_values(capsys):
    row = X[1]
    runs = [
        lambda: shown(row),
        lambda: pax.grad(shown)(row),
        lambda: pax.jvp(shown, (row,), (row,)),
        lambda: pax.vmap(shown)(row[None]),
        lambda: pax.vmap(pax.grad(shown))(row[None]),
        lambda: pax.grad(lambda x: pax.vmap(shown)(x).sum())(row[None]),
    ]
    for run in runs:
        run()
        assert capsys.readouterr().out == "1 x=tensor([2., 3.])\n"


def test_print_shows_each_example(capsys):
    pax.vmap(lambda x, y: pax.debug.print("{x} {y}", x=x, y=y), (0, None), None)(X[:, 0], 7)
    assert capsys.readouterr().out == "0.0 7\n2.0 7\n4.0 7\n"


def test_compiled_prints_run_each_time_and_in_order(capsys):
    def step(x):
        pax.debug.print("{}", x)
        pax.debug.print("twice {}", 2 * x)
        return pax.grad(lambda y: y * y)(x)

    compiled = pax.jit(step, backend="aot_eager")
    assert [compiled(torch.tensor(x)).item() for x in (1.0, 2.0)] == [2.0, 4.0]
    assert capsys.readouterr().out == "1.0\ntwice 2.0\n2.0\ntwice 4.0\n"


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: pax.debug.print(3), TypeError, "takes a format string first, got 3"),
        (lambda: pax.debug.print("x", X), ValueError, "no place for the argument 0"),
        (lambda: pax.debug.print("x", x=X), ValueError, "no place for the argument 'x'"),
        (lambda: pax.debug.print("{x}", X), ValueError, "a place without an argument: 'x'"),
    ],
)
def test_what_print_refuses(call, error, words):
    with pytest.raises(error, match=words):
        call()
