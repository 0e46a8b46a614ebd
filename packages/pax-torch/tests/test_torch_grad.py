"""grad and value_and_grad: values, structure, purity and errors."""

import gc
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pax_torch as pax


def live_tensors():
    return sum(issubclass(type(x), torch.Tensor) for x in gc.get_objects())


def same(tree, other):
    torch.testing.assert_close(tree, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("argnums", "expected"),
    [
        pytest.param(0, torch.tensor(15.0), id="first"),
        pytest.param(-1, torch.tensor(6.0), id="last"),
        pytest.param((1,), (torch.tensor(10.0),), id="tuple of one"),
        pytest.param([2, 0], (torch.tensor(6.0), torch.tensor(15.0)), id="list"),
        pytest.param(np.int64(1), torch.tensor(10.0), id="NumPy integer"),
        pytest.param(np.array([1]), (torch.tensor(10.0),), id="NumPy array"),
        pytest.param((0, -1), (torch.tensor(15.0), torch.tensor(6.0)), id="mixed signs"),
    ],
)
def test_argnums(argnums, expected):
    same(pax.grad(lambda x, y, z: x * y * z, argnums)(2.0, 3.0, 5.0), expected)


def test_other_arguments_reach_the_function_unchanged():
    marker = object()

    def f(x, number, *, keyword):
        assert type(number) is int
        assert keyword is marker
        return x * number

    same(pax.grad(f)(2.0, 3, keyword=marker), torch.tensor(3.0))


@pytest.mark.parametrize(
    ("leaf", "dtype"),
    [
        pytest.param(2.0, torch.float32, id="float"),
        pytest.param(torch.tensor(2.0, dtype=torch.bfloat16), torch.bfloat16, id="bfloat16"),
        pytest.param(np.float64(2.0), torch.float64, id="numpy scalar"),
        pytest.param(np.float32(2.0), torch.float32, id="numpy float32 scalar"),
        pytest.param(np.full((2, 3), 2.0, np.float32), torch.float32, id="numpy array"),
        pytest.param(np.arange(3.0)[::-1], torch.float64, id="numpy view"),
        pytest.param(np.broadcast_to(2.0, (3,)), torch.float64, id="numpy read-only"),
        pytest.param(torch.nn.Parameter(torch.ones(2)), torch.float32, id="parameter"),
    ],
)
def test_leaf_types(leaf, dtype):
    gradient = pax.grad(lambda x: (x**2).sum())(leaf)

    assert type(gradient) is torch.Tensor
    assert gradient.dtype == dtype
    assert not gradient.requires_grad
    expected = leaf.detach() if isinstance(leaf, torch.Tensor) else torch.tensor(np.array(leaf))
    same(gradient, 2 * expected.to(dtype))


def test_aux():
    def f(x):
        return x**2, {"x": x, "name": "aux", "number": 3}

    ((value, aux), gradient) = pax.value_and_grad(f, has_aux=True)(3.0)
    same((value, gradient), (torch.tensor(9.0), torch.tensor(6.0)))
    assert (aux["name"], aux["number"]) == ("aux", 3)
    assert not aux["x"].requires_grad

    gradient, aux = pax.grad(f, has_aux=True)(3.0)
    same((gradient, aux["x"]), (torch.tensor(6.0), torch.tensor(3.0)))


def test_unused_leaf_gives_zeros():
    gradient = pax.grad(lambda x: x["a"] * 2)({"a": 1.0, "b": torch.ones(2, 3)})
    same(gradient, {"a": torch.tensor(2.0), "b": torch.zeros(2, 3)})


@pytest.mark.parametrize("around", [lambda f: f, lambda f: pax.jit(f, backend="eager")])
def test_unused_leaf_gives_none_where_asked(around):
    f = around(lambda p: (p["a"][:1] ** 2).sum() + 0 * p["b"])
    params = {"a": torch.tensor([3.0, 1.0]), "b": torch.tensor(1.0), "c": torch.ones(2)}
    grads = pax.grad(f, materialize_grads=False)(params)
    assert grads["c"] is None
    assert (grads["a"].tolist(), grads["b"].item()) == ([6, 0], 0)
    assert pax.grad(f)(params)["c"].tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"does not depend on argument 0\['c'\]"):
        pax.grad(f, allow_unused=False)(params)


def test_constant_gives_zeros():
    same(pax.grad(lambda x: torch.tensor(1.0))(torch.ones(2)), torch.zeros(2))


def test_none_and_empty_nodes_stay():
    gradient = pax.grad(lambda x: x["a"] ** 2)({"a": 1.0, "b": None, "c": []})
    assert gradient == {"a": torch.tensor(2.0), "b": None, "c": []}


def test_the_same_tensor_in_two_places_has_two_gradients():
    x = torch.tensor(3.0)
    same(pax.grad(lambda t: t[0] ** 2 * t[1])([x, x]), [torch.tensor(18.0), torch.tensor(9.0)])


def test_closed_over_occurrence_is_constant():
    x = torch.tensor(3.0)
    same(pax.grad(lambda y: y * x)(x), torch.tensor(3.0))
    same(pax.grad(lambda y: pax.grad(lambda z: z * y)(y))(x), torch.tensor(1.0))


def test_third_order():
    f = pax.grad(pax.grad(pax.grad(lambda x: x**4)))
    same(f(2.0), torch.tensor(48.0))


def test_complex_leaf_points_uphill():
    z = torch.tensor(1.0 + 2.0j)
    same(pax.grad(lambda z: z.abs() ** 2)(z), 2 * z)


@pytest.mark.parametrize("order", [1, 2], ids=["first order", "second order"])
@pytest.mark.parametrize(
    "f",
    [
        pytest.param(lambda x: (x.sin() * x.exp()).sum(), id="elementwise"),
        pytest.param(lambda x: torch.linalg.det(x @ x.T + torch.eye(3)).log(), id="linalg"),
        pytest.param(lambda x: torch.logsumexp(x.flatten(), 0), id="reduction"),
    ],
)
def test_finite_differences(f, order):
    def gradient(x):
        return pax.grad(f, create_graph=True)(x)

    x = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    eps, h = 1e-6, torch.randn_like(x)
    if order == 1:
        numeric = (f(x + eps * h) - f(x - eps * h)) / (2 * eps)
        torch.testing.assert_close((pax.grad(f)(x) * h).sum(), numeric, rtol=1e-6, atol=1e-8)
    else:
        assert torch.autograd.gradcheck(gradient, x.requires_grad_())


class TestPurity:
    def test_inputs_keep_their_flags(self):
        plain, tracked = torch.ones(3), torch.ones(3, requires_grad=True)
        pax.value_and_grad(lambda t: (t[0] * t[1]).sum())([plain, tracked])
        assert (plain.requires_grad, tracked.requires_grad) == (False, True)
        assert (plain.grad, tracked.grad) == (None, None)

    def test_inputs_keep_their_flags_when_the_function_raises(self):
        x = torch.ones(3)

        def f(x):
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            pax.grad(f)(x)
        assert not x.requires_grad
        assert not pax.value_and_grad(lambda x: x.sum())(x)[0].requires_grad

    def test_closed_over_parameters_accumulate_nothing(self):
        weight = torch.nn.Parameter(torch.tensor(2.0))
        value, gradient = pax.value_and_grad(lambda x: weight * x)(3.0)
        assert weight.grad is None
        assert (value.requires_grad, gradient.requires_grad) == (False, False)

    def test_results_keep_the_graph_when_asked(self):
        x = torch.tensor(3.0, requires_grad=True)
        pax.grad(lambda x: x**3, create_graph=True)(x).backward()
        same(x.grad, torch.tensor(18.0))

    def test_array_is_not_written(self):
        array = np.ones(3)
        pax.grad(lambda x: x.detach().mul_(2).sum() + x.sum())(array)
        assert (array == 1).all()

    def test_no_grad_outside_is_no_obstacle(self):
        with torch.no_grad():
            same(pax.grad(lambda x: x**2)(3.0), torch.tensor(6.0))

    def test_no_grad_inside_stops_the_outer_derivative(self):
        def f(x):
            with torch.no_grad():
                inner = pax.grad(lambda y: y**3)(x)
            return inner * x

        same(pax.grad(f)(2.0), torch.tensor(12.0))

    def test_inference_mode(self):
        with torch.inference_mode():
            x = torch.tensor(3.0)
            same(pax.grad(lambda x: x**2)(x), torch.tensor(6.0))
        same(pax.grad(lambda x: x**2)(x), torch.tensor(6.0))

    def test_no_tensor_stays_alive(self):
        f = pax.value_and_grad(pax.grad(lambda x, w: (w * x**3).sum()), has_aux=False)
        x, w = torch.tensor(1.0), torch.tensor(2.0)
        f(x, w)
        gc.collect()
        gc.disable()  # Nothing may wait for the garbage collector either.
        try:
            before = live_tensors()
            for _ in range(1000):
                f(x, w)
            assert live_tensors() < before + 10  # far less than one a step
        finally:
            gc.enable()

    def test_threads(self):
        f = pax.grad(pax.grad(lambda x: x**3))
        flat = pax.grad(lambda x: x**2)
        wrong = []

        def work(number):
            for _ in range(50):
                nested, single = f(float(number)), flat(float(number))
                if nested != 6 * number or single != 2 * number or single.requires_grad:
                    wrong.append((number, nested, single))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


class TestErrors:
    @pytest.mark.parametrize("transform", [pax.grad, pax.value_and_grad])
    def test_not_callable(self, transform):
        with pytest.raises(TypeError, match="expected a callable, got 3 of type int"):
            transform(3)

    def test_generator_function(self):
        def generator(x):
            yield x

        with pytest.raises(TypeError, match=r"generator function .*generator"):
            pax.grad(generator)

    @pytest.mark.parametrize("argnums", ["0", 1.0, None, (), (0, "1"), True])
    def test_argnums_type(self, argnums):
        with pytest.raises(TypeError, match="argnums must be an int or a sequence of ints, got"):
            pax.grad(lambda x: x, argnums)

    @pytest.mark.parametrize(("argnums", "needed"), [(2, 3), ((0, 5), 6), (-3, 3)])
    def test_argnums_out_of_range(self, argnums, needed):
        with pytest.raises(TypeError, match=f"at least {needed} positional .* got only 2"):
            pax.grad(lambda x, y: x * y, argnums)(1.0, 2.0)

    def test_argnums_twice(self):
        with pytest.raises(ValueError, match=r"argnums=\(0, -2\) names the same one"):
            pax.grad(lambda x, y: x * y, (0, -2))(1.0, 2.0)

    def test_vector_result(self):
        with pytest.raises(TypeError, match=r"scalar-output functions.*shape \(3,\)"):
            pax.grad(lambda x: x)(torch.ones(3))

    @pytest.mark.parametrize("result", [None, "text", 1.0, (torch.tensor(1.0),)], ids=repr)
    def test_result_is_no_tensor(self, result):
        with pytest.raises(TypeError, match="scalar-output functions"):
            pax.grad(lambda x: result)(1.0)

    @pytest.mark.parametrize("dtype", [torch.int64, torch.complex64], ids=str)
    def test_result_is_not_real(self, dtype):
        with pytest.raises(TypeError, match=f"real-valued outputs.*{dtype}"):
            pax.grad(lambda x: x.detach().to(dtype))(1.0)

    def test_array_of_objects(self):
        with pytest.raises(TypeError, match=r"argument 0: can't convert np.ndarray .*[^.]\.$"):
            pax.grad(lambda x: x)(np.array([object()]))

    def test_long_result(self):
        with pytest.raises(TypeError, match=r"scalar-output .* of type list\.") as error:
            pax.grad(lambda x: [x] * 2000)(1.0)
        assert len(str(error.value)) < 1000

    def test_aux_is_no_pair(self):
        with pytest.raises(TypeError, match=r"pair .value, aux., but it returned a tensor"):
            pax.grad(lambda x: x, has_aux=True)(1.0)

    @pytest.mark.parametrize("leaf", [2, True, torch.tensor(2), np.arange(3)], ids=repr)
    def test_integer_leaf(self, leaf):
        with pytest.raises(TypeError, match=r"real- or complex-valued inputs.*argument 1\['a'\]"):
            pax.grad(lambda x, y: x * y["a"], (0, 1))(1.0, {"a": leaf})

    def test_leaf_of_another_type(self):
        with pytest.raises(TypeError, match=r"argument 0\['a'\]\[1\]: expected .* got 'text'"):
            pax.grad(lambda x: x)({"a": [1.0, "text"]})

    def test_unused_leaf_when_not_allowed(self):
        f = pax.grad(lambda x: x["a"] * 2, allow_unused=False)
        with pytest.raises(ValueError, match=r"does not depend on argument 0\['b'\]"):
            f({"a": 1.0, "b": 1.0})
        same(f({"a": 1.0}), {"a": torch.tensor(2.0)})

    @pytest.mark.parametrize(
        "write",
        [
            lambda x: x.mul_(2),
            lambda x: x.view(2, 1)[0].zero_(),
            lambda x: x.__setitem__(0, 3.0),
            lambda x: torch.sin_(x[1:]),
        ],
    )
    @pytest.mark.parametrize("nested", [False, True])
    def test_writing_to_an_argument_of_a_nested_derivative(self, write, nested):
        inner = pax.grad(lambda y: (write(y) is y) + (y**2).sum(), create_graph=True)
        x = torch.ones(2, requires_grad=True) * 1
        with pytest.raises(RuntimeError, match="modified inplace"):
            pax.grad(lambda y: inner(y * 1).sum())(x) if nested else inner(x)
        assert x.tolist() == [1.0, 1.0]

    def test_writing_to_an_argument(self):
        x = torch.ones(3)
        with pytest.raises(RuntimeError, match="in-place operation"):
            pax.grad(lambda x: x.mul_(2).sum())(x)
        same(x, torch.ones(3))


leaves = st.one_of(
    st.floats(-3, 3, width=32),
    st.floats(-3, 3, width=32).map(torch.tensor),
    st.floats(-3, 3, width=32).map(np.float32),
    st.builds(
        lambda x, shape, dtype: torch.full(shape, x, dtype=dtype),
        st.floats(-3, 3),
        st.sampled_from([(), (0,), (2, 2)]),
        st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    ),
)
trees = st.recursive(
    leaves,
    lambda node: st.one_of(
        st.lists(node, min_size=1, max_size=3),
        st.tuples(node, st.none()),
        st.dictionaries(st.text("abc", max_size=2), node, min_size=1, max_size=3),
    ),
    max_leaves=8,
)


def squares(tree):
    return sum((x.double() ** 2).sum() for x in pax.tree_leaves(tree))


@given(trees)
def test_gradient_has_the_structure_of_its_argument(tree):
    value, gradient = pax.value_and_grad(squares)(tree)

    assert pax.tree_structure(gradient) == pax.tree_structure(tree)
    tensors = pax.tree_map(torch.as_tensor, tree)
    same(value, squares(tensors))
    same(pax.tree_leaves(gradient), [2 * x for x in pax.tree_leaves(tensors)])


@given(st.lists(trees, min_size=1, max_size=4), st.data())
def test_argnums_select_and_order(arguments, data):
    size = len(arguments)
    chosen = data.draw(
        st.permutations(range(size)).flatmap(
            lambda order: st.integers(1, size).map(lambda n: tuple(order[:n]))
        )
    )
    argnums = tuple(i - size if data.draw(st.booleans()) else i for i in chosen)

    gradients = pax.grad(lambda *trees: squares(trees_as_tensors(trees)), argnums)(*arguments)

    expected = tuple(pax.grad(squares)(arguments[i]) for i in chosen)
    same(pax.tree_leaves(gradients), pax.tree_leaves(expected))


def trees_as_tensors(tree):
    return pax.tree_map(torch.as_tensor, tree)


@pytest.mark.parametrize("mode", [True, False])
def test_grad_mode_is_as_before_after_a_function_that_sets_it(mode):
    def switches_off(x):
        y = x * x
        torch.set_grad_enabled(False)
        return y

    with torch.set_grad_enabled(mode):
        assert pax.grad(switches_off)(3.0) == 6.0
        assert torch.is_grad_enabled() is mode
