"""Pytrees, keyword and static arguments, shapes per call, dtypes, given output shapes."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch2jax_bridge import ShapeInferenceError, Size, dtype_j2t, torch2jax

Point = namedtuple("Point", "x y")

DTYPES = [
    *("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32"),
    *("float16", "bfloat16", "float32", "complex64"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
]
WIDE = ["int64", "uint64", "float64", "complex128"]

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
arrays = st.builds(
    lambda shape, dtype, seed: jnp.asarray(
        np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32)
    ).astype(dtype),
    shapes,
    st.sampled_from(DTYPES),
    st.integers(0, 100),
)
trees = st.recursive(
    arrays | st.none(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        st.builds(Point, inner, inner),
    ),
    max_leaves=6,
)


def same(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


@settings(deadline=None, max_examples=40)
@given(trees)
def test_bridge_identity_returns_any_tree(tree):
    same(torch2jax(lambda t: t)(tree), tree)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (4, 5)], ids=str)
def test_bridge_dtype_in_and_out(dtype, shape):
    seen = Mock()  # the inference leaves its state alone
    x = jnp.ones(shape).astype(dtype)

    def function(t):
        seen(t.dtype, tuple(t.shape))
        return t.reshape(-1), t

    same(jax.jit(torch2jax(function))(x), (x.reshape(-1), x))
    assert {call.args for call in seen.call_args_list} == {(dtype_j2t(dtype), shape)}


@pytest.mark.parametrize("dtype", WIDE)
def test_bridge_wide_dtype_with_x64(dtype):
    with jax.enable_x64(True):
        x = jnp.ones((2, 3)).astype(dtype)
        same(torch2jax(lambda t: (t, t[0]))(x), (x, x[0]))


@pytest.mark.parametrize("dtype", WIDE)
def test_bridge_wide_result_becomes_narrow_without_x64(dtype):
    wide = getattr(torch, dtype)
    out = torch2jax(lambda t: t.to(wide))(jnp.ones(3))
    assert out.dtype == jax.dtypes.canonicalize_dtype(dtype)
    assert torch2jax(lambda t: t.argmax())(jnp.arange(3.0)) == 2


def test_bridge_mixed_dtypes_in_one_call():
    def function(mask, index, half, table):
        return torch.where(mask, table[index], half.float()), index.to(torch.uint8), mask & True

    mask, index = jnp.array([True, False]), jnp.array([1, 0])
    half, table = jnp.array([0.5, 1.5], jnp.bfloat16), jnp.array([3.0, 4.0])
    out = torch2jax(function)(mask, index, half, table)
    same(out, (jnp.array([4.0, 1.5]), index.astype(jnp.uint8), mask))


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.T,
        lambda t: t[:, ::2],
        lambda t: t[1:, 1:],
        lambda t: t.expand(2, 3, 4),
        lambda t: t.flip(0),
        lambda t: t[0],
        lambda t: t.unsqueeze(0).transpose(0, 2),
    ],
    ids=["T", "step", "corner", "expand", "flip", "row", "singleton"],
)
def test_bridge_result_of_any_strides(view):
    x = jnp.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(torch2jax(view)(x), view(torch.arange(12.0).reshape(3, 4)))


def test_bridge_lazily_conjugated_and_negated_results():
    z = jnp.array([1 + 2j, 3 - 1j])
    conjugated, negated = torch2jax(lambda t: (t.conj(), t.conj().imag))(z)
    np.testing.assert_array_equal(conjugated, jnp.conj(z))
    np.testing.assert_array_equal(negated, jnp.conj(z).imag)


def test_bridge_large_result():
    x = jnp.arange(1_000_000.0)
    np.testing.assert_array_equal(torch2jax(lambda t: t + 1)(x), x + 1)


def test_bridge_keyword_arguments_and_defaults():
    def function(x, *, scale, shift=1.0):
        return x * scale + shift

    wrapped = torch2jax(function)
    x = jnp.arange(3.0)
    np.testing.assert_array_equal(wrapped(x, scale=jnp.float32(2)), [1.0, 3.0, 5.0])
    np.testing.assert_array_equal(wrapped(x, scale=x, shift=x), [0.0, 2.0, 6.0])


def test_bridge_static_arguments_reach_the_function_unchanged():
    seen = []

    def function(x, dim, mode=None, keep=False):
        seen.append((dim, mode, type(keep)))
        return x.sum(dim, keepdim=bool(keep))

    wrapped = torch2jax(function)
    x = jnp.ones((2, 3))
    assert wrapped(x, 0).shape == (3,)
    assert wrapped(x, 1, "a", keep=True).shape == (2, 1)
    assert wrapped(x, 1, "a", keep=1).shape == (2, 1)
    assert set(seen) == {(0, None, bool), (1, "a", bool), (1, "a", int)}


def test_bridge_static_zeros_of_both_signs_differ():
    wrapped = torch2jax(lambda x, zero: x.copysign(torch.tensor(zero)))
    assert wrapped(jnp.ones(1), 0.0) == 1
    assert wrapped(jnp.ones(1), -0.0) == -1


def test_bridge_one_wrapper_serves_every_shape_and_infers_each_once():
    fake = Mock()

    def function(x):
        fake(isinstance(x, torch._subclasses.FakeTensor))
        return x * 2

    wrapped = torch2jax(function)
    for _ in range(2):
        for shape in [(2,), (3, 4), ()]:
            assert wrapped(jnp.ones(shape)).shape == shape
    kinds = [call.args[0] for call in fake.call_args_list]
    assert (kinds.count(True), kinds.count(False)) == (3, 6)


def test_bridge_numpy_arguments():
    np.testing.assert_array_equal(torch2jax(torch.add)(np.ones(2), np.float32(1)), [2.0, 2.0])


def test_bridge_examples_infer_without_running():
    fake = Mock()

    def function(x, *, y):
        fake(isinstance(x, torch._subclasses.FakeTensor))
        return x + y

    wrapped = torch2jax(function, torch.ones(2), example_kw={"y": jnp.ones(2)})
    assert fake.call_args_list == [((True,),)]
    np.testing.assert_array_equal(wrapped(jnp.ones(2), y=jnp.ones(2)), [2.0, 2.0])
    assert fake.call_args_list == [((True,),), ((False,),)]


@pytest.mark.parametrize(
    "shapes",
    [
        {"a": Size([2]), "b": Size([])},
        {"a": jax.ShapeDtypeStruct((2,), jnp.float32), "b": jnp.float32(0)},
        {"a": torch.zeros(2), "b": np.zeros((), np.float32)},
    ],
    ids=["size", "struct", "array"],
)
def test_bridge_given_output_shapes_need_no_inference(shapes):
    def function(x):
        return {"a": x * float(x.sum()), "b": torch.tensor(x.max().item())}

    x = jnp.array([1.0, 2.0])
    with pytest.raises(ShapeInferenceError, match="pass output_shapes="):
        torch2jax(function)(x)
    out = jax.jit(torch2jax(function, output_shapes=shapes))(x)
    np.testing.assert_array_equal(out["a"], [3.0, 6.0])
    assert out["b"] == 2


def test_bridge_result_without_leaves():
    assert torch2jax(lambda x: None)(jnp.ones(2)) is None


def test_bridge_function_without_arrays():
    np.testing.assert_array_equal(torch2jax(lambda n: torch.arange(float(n)))(3), [0.0, 1.0, 2.0])


def test_bridge_ordered_dict_keeps_its_type():
    tree = OrderedDict(b=jnp.ones(2), a=jnp.zeros(1))
    out = torch2jax(lambda t: t)(tree)
    assert type(out) is OrderedDict
    assert list(out) == ["b", "a"]


@jax.tree_util.register_dataclass
@dataclass
class Pair:
    left: jax.Array
    right: jax.Array


def test_bridge_class_that_only_jax_knows_as_a_tree():
    def swap(pair):
        return Pair(pair.right, pair.left * 2)

    out = jax.jit(torch2jax(swap))(Pair(jnp.ones(2), jnp.zeros(3)))
    assert (out.left.shape, out.right.shape) == ((3,), (2,))
    np.testing.assert_array_equal(out.right, [2.0, 2.0])
