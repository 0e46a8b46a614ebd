"""Whatever goes wrong inside of a call is an error that says so; the process lives on."""

import traceback
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from torch2jax_bridge import ShapeInferenceError, original_exception, torch2jax
from torch2jax_bridge._runtime.errors import KEPT, _exceptions

X = jnp.arange(3.0)
Failure = jax.errors.JaxRuntimeError


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def fails(x):
    raise ValueError("the answer is not 42 µ")


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_bridge_exception_arrives_with_message_and_traceback(wrap):
    with pytest.raises(Failure) as info:
        jax.block_until_ready(wrap(torch2jax(fails, output_shapes=X))(X))
    text = str(info.value)
    assert "ValueError: the answer is not 42 µ" in text
    assert "test_bridge_errors.py" in text
    assert "in fails" in text
    np.testing.assert_array_equal(torch2jax(lambda x: x + 1)(X), X + 1)


def test_bridge_exception_in_a_derivative():
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            raise ArithmeticError("no gradient today")

    with pytest.raises(Failure, match="ArithmeticError: no gradient today"):
        jax.block_until_ready(jax.grad(torch2jax(lambda x: Broken.apply(x).sum()))(X))


@pytest.mark.parametrize("error", [Unprintable(), SystemExit(3)], ids=lambda e: type(e).__name__)
def test_bridge_strange_exceptions(error):
    def function(x):
        raise error

    with pytest.raises(Failure, match="function called from JAX failed"):
        jax.block_until_ready(torch2jax(function, output_shapes=X)(X))


WRONG = {
    "shape": (lambda x: x[:1], r"Result 0 has the shape \(1,\), but the shape \(3,\)"),
    "rank": (lambda x: x[None], r"Result 0 has the shape \(1, 3\), but the shape \(3,\)"),
    "dtype": (lambda x: x.to(torch.int32), "Result 0 has the dtype int32, but float32"),
    "type": (lambda x: 3.0, "Result 0 is of type float, expected a torch.Tensor"),
    "list": (lambda x: [x], "Result 0 is of type list, expected a torch.Tensor"),
    "none": (lambda x: None, "Result 0 is of type NoneType, expected a torch.Tensor"),
    "count": (lambda x: (x, x), "returned 2 tensors, but its results were inferred or given as 1"),
    "empty": (lambda x: (), "returned 0 tensors, but its results were inferred or given as 1"),
    "device": (lambda x: x.to("meta"), "Result 0|meta"),
    "sparse": (lambda x: x.to_sparse(), "<lambda> called from JAX failed"),
}


@pytest.mark.parametrize(("function", "message"), WRONG.values(), ids=WRONG)
def test_bridge_wrong_result(function, message):
    with pytest.raises(Failure, match=message):
        jax.block_until_ready(torch2jax(function, output_shapes=X)(X))


def test_bridge_wrong_number_of_results():
    with pytest.raises(Failure, match=r"returned the tree .* was inferred or given"):
        jax.block_until_ready(torch2jax(lambda x: {"a": x, "b": x}, output_shapes={"a": X})(X))


def changes(x, y):
    y["a"].view(-1)[0] = 5
    return x + y["a"]


def test_bridge_changing_an_argument_in_place_is_seen_before_it_happens():
    x = jnp.zeros(3)
    with pytest.raises(
        TypeError, match=r"changes changes its array argument number 1 \(args\[1\]\['"
    ):
        torch2jax(changes)(x, {"a": x})
    np.testing.assert_array_equal(x, np.zeros(3))


def test_bridge_changing_an_argument_in_place():
    wrapped = torch2jax(changes, output_shapes=X)
    with pytest.raises(Failure, match=r"changed its array argument number 1 \(args"):
        jax.block_until_ready(wrapped(X + 1, {"a": X + 1}))


def test_bridge_shape_inference_names_function_and_arguments():
    def branches(x):
        return x if x.sum() > 0 else -x

    with pytest.raises(ShapeInferenceError, match=r"branches for arguments float32\[3\].*output_s"):
        torch2jax(branches)(X)


def test_bridge_result_that_is_no_tensor_names_its_place():
    with pytest.raises(TypeError, match=r"3 of type int at result\['b'\]\[0\]; expected only tens"):
        torch2jax(lambda x: {"a": x, "b": [3]})(X)


def test_bridge_tensor_as_argument():
    with pytest.raises(TypeError, match=r"\(args, kwargs\)\[0\]\[0\]: got a torch.Tensor.*t2j"):
        torch2jax(torch.sin)(torch.ones(2))


def test_bridge_unhashable_argument():
    with pytest.raises(TypeError, match=r"\(args, kwargs\)\[1\]\['names'\]: .* has to be hashable"):
        torch2jax(lambda x, names: x)(X, names={"a set"})


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (jnp.ones(2, jnp.int4), "no dtype like int4; convert the array first"),
        (jnp.ones(2, jnp.uint2), "no dtype like uint2"),
        (jnp.ones(2, jnp.float4_e2m1fn), "no dtype like float4_e2m1fn"),
        (jax.random.key(0), "no typed random keys"),
    ],
    ids=["int4", "uint2", "float4", "key"],
)
def test_bridge_unknown_dtype(array, message):
    with pytest.raises(TypeError, match=message):
        torch2jax(lambda x: x)(array)


def test_bridge_not_callable():
    with pytest.raises(TypeError, match=r"takes a function or a torch.nn.Module, got 3"):
        torch2jax(3)


def test_bridge_wrong_output_shapes():
    with pytest.raises(TypeError, match="A leaf of output_shapes is 3"):
        torch2jax(torch.sin, output_shapes=[3])(X)
    with pytest.raises(TypeError, match=r"out and input_output_aliases are for functions"):
        torch2jax(torch.nn.Linear(2, 2), out=True)


@pytest.mark.parametrize(
    "inside",
    [lambda: jnp.ones(3) + 1, lambda: jax.jit(jnp.sin)(X), lambda: torch2jax(torch.sin)(X)],
    ids=["eager", "jit", "bridge"],
)
def test_bridge_calling_jax_from_inside_raises(inside):
    inside()  # compiled before, so that only the execution is left

    def function(x):
        inside()
        return x

    with pytest.raises(Failure, match="JAX tried to execute"):
        jax.block_until_ready(torch2jax(function, output_shapes=X)(X))


def test_bridge_random_function_refuses_forward_mode():
    wrapped = torch2jax(torch.nn.functional.dropout)
    assert wrapped(X).shape == (3,)
    with pytest.raises(TypeError, match="dropout draws random numbers"):
        jax.jvp(wrapped, (X,), (X,))


def test_bridge_random_function_refuses_a_gradient_of_other_numbers():
    wrapped = torch2jax(torch.nn.functional.dropout)

    value, pull = jax.vjp(wrapped, jnp.ones(64))
    np.testing.assert_array_equal(pull(jnp.ones(64))[0], value)
    with pytest.raises((Failure, ValueError), match="draws random numbers"):
        jax.block_until_ready(pull(jnp.ones(64)))


@pytest.mark.parametrize("training", [True, False])
def test_bridge_dropout_counts_as_random_only_in_training(training):
    wrapped = torch2jax(lambda x: torch.nn.functional.dropout(x, 0.5, training))

    def differentiate():
        return jax.jvp(wrapped, (X,), (X,))

    if training:
        with pytest.raises(TypeError, match="random"):
            differentiate()
    else:
        np.testing.assert_array_equal(differentiate()[1], X)


def test_bridge_attention_without_dropout_is_not_random():
    def attention(x):
        return torch.nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.0).sum()

    x = jnp.linspace(-1.0, 1.0, 24).reshape(1, 2, 3, 4)
    _, pull = jax.vjp(torch2jax(attention), x)
    np.testing.assert_allclose(pull(2.0)[0], 2 * pull(1.0)[0], rtol=1e-5)


def test_bridge_original_exception_with_its_traceback():
    with pytest.raises(Failure) as info:
        jax.block_until_ready(jax.jit(torch2jax(fails, output_shapes=X))(X))
    original = original_exception(info.value)
    assert type(original) is ValueError
    assert original.args == ("the answer is not 42 µ",)
    frames = list(traceback.walk_tb(original.__traceback__))
    assert [frame.f_code.co_name for frame, _ in frames] == ["fails"]
    assert all(not frame.f_locals for frame, _ in frames)


def test_bridge_original_exceptions_of_several_failures_at_once():
    big = jnp.ones((300, 300))

    def work(i):
        function = jax.jit(lambda x: torch2jax(raiser(i), output_shapes=X)(x @ x))
        for _ in range(3):
            try:
                function(big).block_until_ready()
            except Failure as error:
                yield original_exception(error)

    with ThreadPoolExecutor(6) as pool:
        for i, found in enumerate(pool.map(lambda i: list(work(i)), range(6))):
            assert [type(e) for e in found] == [LookupError] * 3
            assert [e.args for e in found] == [(i,)] * 3


def raiser(i):
    def function(x):
        raise LookupError(i)

    return function


def test_bridge_original_exception_of_other_errors():
    assert original_exception(ValueError("nothing")) is None
    assert original_exception(Failure("f called from JAX failed (failure 987654321): x")) is None


def test_bridge_exceptions_are_not_kept_for_ever():
    for i in range(KEPT + 10):
        with pytest.raises(Failure):
            jax.block_until_ready(torch2jax(raiser(i), output_shapes=X)(X))
    assert len(_exceptions) == KEPT


def test_bridge_operation_that_pytorch_cannot_batch():
    def function(x):
        return torch.nn.functional.group_norm(x.transpose(-1, -2).reshape(2, 4, 4, 4), 2)

    x = jnp.arange(384.0).reshape(3, 2, 16, 4)
    with pytest.raises(Failure, match=r"torch2jax.*vmap_method='sequential'"):
        jax.vmap(torch2jax(function))(x).block_until_ready()
    batched = jax.vmap(torch2jax(function, vmap_method="sequential"))(x)
    np.testing.assert_array_equal(batched[1], torch2jax(function)(x[1]))


class Textless(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def test_bridge_inference_tells_of_every_exception():
    def function(x, error):
        raise error

    for error, text in ((Textless(), "Textless: its text"), (OSError("caf\udce9"), r"caf\\udce9")):
        with pytest.raises(ShapeInferenceError, match=text) as info:
            torch2jax(lambda x, error=error: function(x, error))(X)
        assert original_exception(info.value) is error


def test_bridge_wide_integers_are_named_where_values_are_read_too():
    with pytest.raises(ShapeInferenceError, match=r"output_shapes=.* widen_integers=True, too"):
        torch2jax(torch.nn.functional.one_hot)(jnp.arange(3))


def test_bridge_linear_transpose_is_refused():
    with pytest.raises(NotImplementedError, match=r"jax\.vjp\(f, x\)\[1\]"):
        jax.linear_transpose(torch2jax(lambda x: x * 3), X)(X)


def test_bridge_wrong_options_are_one_sentence():
    with pytest.raises(TypeError, match="class of modules"):
        torch2jax(torch.nn.Linear)
    for aliases in ([0], {"a": 0}):
        with pytest.raises(TypeError, match="expected a dict: number of an array argument"):
            torch2jax(torch.sin, input_output_aliases=aliases)
    for shape in (jax.ShapeDtypeStruct((-1,), jnp.float32), torch.Size([-1])):
        with pytest.raises(TypeError, match="size below zero"):
            torch2jax(torch.sin, output_shapes=shape)(X)


def test_bridge_static_arguments_without_a_hash():
    np.testing.assert_array_equal(torch2jax(lambda x, s: x[s])(X, slice(1, 3)), X[1:])
    np.testing.assert_array_equal(torch2jax(lambda x, s: x[s])(X, slice(0, 2)), X[:2])
    with pytest.raises(TypeError, match=r"kwargs\)\[0\]\[1\]: \{1\} of type set.*hashable"):
        torch2jax(lambda x, s: x)(X, {1})


def test_bridge_params_that_are_no_dict():
    apply, params, _ = torch2jax(torch.nn.Linear(3, 3))
    for wrong in (X, [1, 2]):
        with pytest.raises(TypeError, match="expected a dict of arrays by name"):
            apply(wrong, X)
    with pytest.raises(TypeError, match="buffers is of type"):
        apply(params, X, buffers=[1])


def test_bridge_hooks_of_parameters_are_refused():
    linear = torch.nn.Linear(3, 3)
    linear.weight.register_hook(lambda grad: grad * 3)
    with pytest.raises(TypeError, match=r"hook of the tensor weight \(register_hook\)"):
        torch2jax(linear)
