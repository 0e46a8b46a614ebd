"""jvp, vjp, linearize, Jacobians, hvp and stop_gradient: numbers, purity and errors."""
# ruff: noqa: E731

import gc
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.autograd import forward_ad, gradcheck

import pax_torch as pax
from pax_tree import tree_map, tree_structure

X = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
V = torch.linspace(2, -1, 6, dtype=torch.float64).reshape(2, 3)
F = lambda x: torch.logsumexp(x.sin() * x, 0).exp()
LOSS = lambda x: F(x).square().sum()

# Each as a function of one tensor that can be differentiated again.
TRANSFORMS = {
    "grad": pax.grad(LOSS, create_graph=True),
    "value": lambda x: pax.value_and_grad(LOSS, create_graph=True)(x)[0],
    "jvp": lambda x: pax.jvp(F, (x,), (V,), create_graph=True),
    "vjp": lambda x: pax.vjp(F, x, create_graph=True)[1](V[0]),
    "vjp out": lambda x: pax.vjp(F, x, create_graph=True)[0],
    "linearize": lambda x: pax.linearize(F, x, create_graph=True)[1](V),
    "jacfwd": pax.jacfwd(F, create_graph=True),
    "jacrev": pax.jacrev(F, create_graph=True),
    "hessian": pax.hessian(LOSS, create_graph=True),
    "hvp": lambda x: pax.hvp(LOSS, (x,), (V,), create_graph=True),
    "vmap": pax.vmap(F, in_axes=1, out_axes=-1),
    "vmap grad": pax.vmap(pax.grad(LOSS)),
}


def same(tree, other):
    torch.testing.assert_close(tree, other)


@pytest.mark.parametrize("function", TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_derivatives_by_finite_differences(function):
    assert gradcheck(function, X.clone().requires_grad_())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(pax.grad(LOSS), torch.func.grad(LOSS), id="grad"),
        pytest.param(pax.jacfwd(F), torch.func.jacfwd(F), id="jacfwd"),
        pytest.param(pax.jacrev(F), torch.func.jacrev(F), id="jacrev"),
        pytest.param(pax.hessian(LOSS), torch.func.hessian(LOSS), id="hessian"),
        pytest.param(pax.vmap(LOSS, 1), torch.func.vmap(LOSS, 1), id="vmap"),
        pytest.param(
            lambda x: pax.jvp(F, (x,), (V,)),
            lambda x: torch.func.jvp(F, (x,), (V,)),
            id="jvp",
        ),
        pytest.param(
            lambda x: pax.linearize(F, x)[1](V),
            lambda x: torch.func.jvp(F, (x,), (V,))[1],
            id="linearize",
        ),
        pytest.param(
            lambda x: pax.vjp(F, x)[1](V[0]), lambda x: torch.func.vjp(F, x)[1](V[0]), id="vjp"
        ),
        pytest.param(
            lambda x: pax.hvp(LOSS, (x,), (V,)),
            lambda x: torch.autograd.functional.hvp(LOSS, x, V)[1],
            id="hvp",
        ),
    ],
)
def test_agrees_with_torch(ours, theirs):
    same(ours(X), theirs(X))


class TestPurity:
    @pytest.mark.parametrize("name", ["jvp", "vjp", "linearize", "jacfwd", "jacrev", "hvp"])
    def test_results_carry_no_graph(self, name):
        x, weight = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
        f = lambda x: (weight * x**2).sum()
        call = {
            "jvp": lambda: pax.jvp(f, (x,), (x,)),
            "vjp": lambda: (pull := pax.vjp(f, x))[0] + pull[1](1.0)[0].sum(),
            "linearize": lambda: (push := pax.linearize(f, x))[0] + push[1](x),
            "jacfwd": lambda: pax.jacfwd(f)(x),
            "jacrev": lambda: pax.jacrev(f, has_aux=False)(x),
            "hvp": lambda: pax.hvp(f, (x,), (x,)),
        }[name]
        assert not any(leaf.requires_grad for leaf in pax.tree_leaves(call()))
        assert (x.grad, weight.grad) == (None, None)
        assert x.requires_grad

    def test_pulling_back_is_differentiable_where_it_happens(self):
        _, pull = pax.vjp(lambda x: x**3, 2.0)
        same(pax.grad(lambda c: pull(c)[0])(1.0), torch.tensor(12.0))
        _, push = pax.linearize(lambda x: x**3, 2.0)
        same(pax.grad(push)(1.0), torch.tensor(12.0))

    def test_inference_mode(self):
        with torch.inference_mode():
            x = torch.tensor([1.0, 2.0])
            same(pax.jvp(torch.square, (x,), (x,))[1], 2 * x * x)
            same(pax.jacrev(torch.square)(x), torch.diag(2 * x))
            same(pax.hessian(lambda x: (x**3).sum())(x), torch.diag(6 * x))
            same(pax.vmap(pax.grad(torch.square))(x), 2 * x)

    def test_inputs_keep_their_flags_when_the_function_raises(self):
        x = torch.ones(3)

        def f(x):
            raise KeyError("mine")

        for transform in (pax.jacfwd, pax.jacrev, pax.hessian, pax.vmap, pax.grad):
            with pytest.raises(KeyError, match="mine"):
                transform(f)(x)
        assert not x.requires_grad
        same(pax.vmap(pax.grad(torch.square))(x), 2 * x)

    @pytest.mark.parametrize(
        "step",
        [
            lambda x: pax.jvp(F, (x,), (x,)),
            lambda x: pax.vjp(F, x)[1](x[0]),
            lambda x: pax.linearize(F, x)[1](x),
            lambda x: pax.hessian(LOSS)(x),
            lambda x: pax.vmap(pax.grad(LOSS))(x),
            lambda x: pax.hvp(LOSS, (x,), (x,)),
        ],
        ids=["jvp", "vjp", "linearize", "hessian", "vmap grad", "hvp"],
    )
    def test_no_tensor_stays_alive(self, step):
        count = lambda: sum(issubclass(type(x), torch.Tensor) for x in gc.get_objects())
        for _ in range(3):
            step(X)
        gc.collect()
        before = count()
        for _ in range(50):
            step(X)
        gc.collect()
        assert count() < before + 10  # far less than one a step

    def test_threads(self):
        x = torch.linspace(0, 1, 4, dtype=torch.float64)
        work = lambda x: (
            pax.hessian(lambda x: (x**3).sum())(x),
            pax.vmap(pax.grad(lambda x: x**3))(x),
            pax.jvp(pax.grad(lambda x: (x**4).sum()), (x,), (x,))[1],
        )
        wrong = []

        def run(i):
            for _ in range(10):
                found = work(x + i)
                expected = torch.diag(6 * (x + i)), 3 * (x + i) ** 2, 12 * (x + i) ** 3
                if not all(map(torch.allclose, found, expected)):
                    wrong.append((i, found))

        threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    def test_a_function_may_wait_for_the_derivative_of_another_thread(self):
        with ThreadPoolExecutor(1) as pool:

            def times_three(x):
                directional = pool.submit(pax.jvp, lambda x: x**3, (1.0,), (1.0,))
                return x * directional.result(20)[1]

            assert torch.equal(pax.jvp(times_three, (X,), (V,))[1], 3 * V)
        assert forward_ad._current_level == -1


class TestErrors:
    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (lambda: pax.jvp(F, X, (X,)), TypeError, "tuples or lists, got a tensor .* as primals"),
            (lambda: pax.jvp(F, (X,), (X, X)), TypeError, "1 primals and 2 tangents"),
            (lambda: pax.jvp(F, (X,), (X[0],)), ValueError, r"tangents\[0\] has shape \(3,\)"),
            (
                lambda: pax.jvp(F, (X,), (X.float(),)),
                TypeError,
                "has dtype torch.float32, but must",
            ),
            (lambda: pax.jvp(F, (X,), ({"a": X},)), TypeError, r"tangents\[0\]: expected a tensor"),
            (
                lambda: pax.jvp(lambda x: x["a"], ({"a": X},), ([X],)),
                ValueError,
                "structure of the",
            ),
            (
                lambda: pax.jvp(lambda x: (x, 3), (X,), (X,)),
                TypeError,
                r"result\[1\] is 3 of type int",
            ),
            (lambda: pax.jvp(lambda n: n, (3,), (1,)), TypeError, r"tangents\[0\] must be None"),
            (lambda: pax.hvp(3, (X,), (X,)), TypeError, "hvp expected a callable, got 3"),
            (
                lambda: pax.jvp(lambda x, n: x * n, (X, 3), (X, 1)),
                TypeError,
                r"tangents\[1\] must be None, .* dtype torch.int64",
            ),
            (lambda: pax.vjp(F, X)[1](X), ValueError, r"cotangent has shape \(2, 3\)"),
            (lambda: pax.vjp(F, X)[1]([X]), TypeError, "the cotangent: expected a tensor"),
            (lambda: pax.vjp(lambda x: [x], X)[1](X), ValueError, "structure of the result"),
            (lambda: pax.linearize(F, X)[1](X, X), ValueError, "structure of the primals"),
            (lambda: pax.jacfwd(F)(torch.arange(3)), TypeError, "argument 0 has dtype torch.int64"),
            (lambda: pax.jacfwd(F)(X + 1j), TypeError, "real inputs, or holomorphic=True"),
            (lambda: pax.jacrev(F)(X + 1j), TypeError, "real-valued outputs.*holomorphic"),
            (lambda: pax.jacfwd(F, holomorphic=True)(X), TypeError, "requires complex inputs"),
            (
                lambda: pax.grad(lambda z: z.abs(), holomorphic=True)(1j),
                TypeError,
                "complex outputs",
            ),
            (lambda: pax.jacfwd(F, 1)(X), TypeError, "at least 2 positional arguments"),
            (lambda: pax.hessian(F, (0, 0))(X), ValueError, "names the same one"),
            (lambda: pax.jacrev(F, has_aux=True)(X), TypeError, "must return a pair"),
        ],
    )
    def test_derivatives(self, call, error, message):
        with pytest.raises(error, match=message):
            call()

    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (lambda: pax.vmap(F)(1.0), ValueError, r"map argument 0 along axis 0.*shape is \(\)"),
            (lambda: pax.vmap(F, -3)({"a": X}), ValueError, r"argument 0\['a'\].* least 3"),
            (lambda: pax.vmap(F, (0, 1))(X), ValueError, "2 entries, but 1 positional"),
            (lambda: pax.vmap(F, "0")(X), TypeError, "in_axes must be an integer, None, or"),
            (lambda: pax.vmap(F, (True,))(X), TypeError, "integers and None, got True"),
            (lambda: pax.vmap(F, ({"a": 0},))(X), ValueError, r"prefix of the arguments: .*\[0\]"),
            (lambda: pax.vmap(F, out_axes=[0])(X), ValueError, "out_axes must be a prefix"),
            (lambda: pax.vmap(F, out_axes=None)(X), ValueError, "depends on the mapped"),
            (lambda: pax.vmap(F, out_axes=3)(X.T), ValueError, "axis 3 for a result"),
            (lambda: pax.vmap(lambda x: "text")(X), TypeError, "the result: expected a tensor"),
            (lambda: pax.vmap(F)("text"), TypeError, "argument 0: expected a tensor"),
            (lambda: pax.vmap(F, None)(X), ValueError, "at least one non-None value in in_axes"),
            (lambda: pax.vmap(F, axis_size=3)(X), ValueError, "has size 2; axis_size is 3"),
            (lambda: pax.vmap(F, randomness="x"), ValueError, "randomness must be .*, got 'x'"),
            (
                lambda: pax.vmap(lambda x, *, k: x)(X, k=[X[0]]),
                ValueError,
                r"argument 0 has size 2; axis 0 of keyword argument \['k'\]\[0\] has size 3",
            ),
        ],
    )
    def test_vmap(self, call, error, message):
        with pytest.raises(error, match=message):
            call()

    @pytest.mark.parametrize(
        "name", ["jacfwd", "jacrev", "hessian", "vmap", "jvp", "vjp", "linearize"]
    )
    def test_generator_function(self, name):
        def generator(x):
            yield x

        with pytest.raises(TypeError, match=re.escape(repr(generator))):
            getattr(pax, name)(generator, (X,), (X,)) if name == "jvp" else getattr(pax, name)(
                generator
            )


def test_integer_leaves_have_no_jacobian():
    found = pax.jacrev(lambda t: t["x"] * t["n"], allow_int=True)({"x": torch.ones(2), "n": 3})
    same(found["x"], 3 * torch.eye(2))
    assert found["n"] is None


def test_integer_results_have_no_derivative():
    out, tangent = pax.jvp(lambda x: {"x": x, "n": x.argmax()}, (X[0],), (X[0],))
    same((out["n"], tangent["x"]), (torch.tensor(2), X[0]))
    assert tangent["n"] is None


def test_stop_gradient_leaves_other_things_alone():
    tree = {"x": X, "n": 3, "s": "text", "none": None}
    stopped = pax.stop_gradient(tree)
    assert (stopped["n"], stopped["s"], stopped["none"]) == (3, "text", None)
    assert stopped["x"].data_ptr() == X.data_ptr()


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("result", [torch.tensor(3), {}, None, {"a": [], "b": X.bool()}])
def test_results_without_derivative(result, mapped):
    def uses(x):
        f = lambda x: (tree_map(torch.clone, result), x.sum())
        vjp, linearized = pax.vjp(f, x, has_aux=True), pax.linearize(f, x, has_aux=True)
        return [
            pax.jvp(f, (x,), (x,), has_aux=True),
            (vjp[0], vjp[1](none), vjp[2]),
            (linearized[0], linearized[1](x), linearized[2]),
            *[jacobian(f, has_aux=True)(x) for jacobian in (pax.jacfwd, pax.jacrev, pax.hessian)],
        ]

    none = tree_map(lambda _: None, result)
    found = tree_map(lambda t: t[1], pax.vmap(uses)(torch.stack([V, X]))) if mapped else uses(X)
    pushed = (result, none, X.sum())
    expected = [pushed, (result, (X * 0,), X.sum()), pushed, *[(none, X.sum())] * 3]
    same(found, expected)
    assert tree_structure(found) == tree_structure(expected)


@pytest.mark.parametrize("chunk_size", [1, 2, 4, 9])
@pytest.mark.parametrize("jacobian", [pax.jacfwd, pax.jacrev, pax.hessian])
def test_jacobians_in_chunks(jacobian, chunk_size):
    sizes = []

    def f(x):
        sizes.append(None)
        return {"out": x["a"].sin().sum() * x["b"] ** 2}

    x = {"a": torch.arange(4.0), "b": torch.tensor([2.0])}
    same(jacobian(f, chunk_size=chunk_size)(x), jacobian(f)(x))
    if jacobian is pax.jacfwd:  # 5 columns, so many at a time, and all at once
        assert len(sizes) == -(-5 // chunk_size) + 1


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError)])
def test_chunk_sizes_that_are_none(size, error):
    with pytest.raises(error, match="jacrev: chunk_size must be"):
        pax.jacrev(F, chunk_size=size)


def test_unused_leaves_without_zeros():
    """A step of an optimizer leaves them, where zeros would let weight decay act on them."""
    params = {"a": torch.ones(2), "b": torch.ones(2)}
    grads = pax.grad(lambda p: p["a"].sum(), materialize_grads=False)(params)
    assert grads["b"] is None
    adamw = pax.functional_optimizer(torch.optim.AdamW, lr=0.1, weight_decay=0.5)
    stepped, _ = adamw.step(params, grads, adamw.init(params))
    assert stepped["b"].equal(params["b"])
    for transform in (pax.vmap, lambda f: pax.jit(f, backend="eager"), lambda f: f):
        f = transform(pax.grad(lambda p: p["a"].sum(), materialize_grads=False))
        found = f({"a": torch.ones(3, 2), "b": torch.ones(3, 2)})
        assert found["b"] is None
        assert found["a"].equal(torch.ones(3, 2))
