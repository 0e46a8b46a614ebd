"""Arrays to tensors and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from torch2jax_bridge import Size, dtype_j2t, dtype_t2j, j2t, t2j, tree_j2t, tree_t2j

NAMES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
]


@pytest.mark.parametrize("name", NAMES)
def test_bridge_dtype_pairs(name):
    assert dtype_j2t(name) == getattr(torch, name)
    assert dtype_t2j(getattr(torch, name)) == jnp.dtype(name)


def test_bridge_unknown_dtypes():
    with pytest.raises(TypeError, match="no dtype like int4"):
        dtype_j2t(jnp.int4)
    with pytest.raises(TypeError, match=r"no dtype like torch.qint8"):
        dtype_t2j(torch.qint8)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (4, 1, 5)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_bridge_round_trip(name, shape):
    with jax.enable_x64(True):
        array = jnp.ones(shape).astype(name)
        tensor = j2t(array)
        assert (tuple(tensor.shape), tensor.dtype) == (shape, getattr(torch, name))
        back = t2j(tensor)
        assert (back.shape, back.dtype) == (array.shape, array.dtype)
        assert np.asarray(back).tobytes() == np.asarray(array).tobytes()


def test_bridge_conversions_share_memory():
    array = jnp.arange(100.0)
    tensor = j2t(array)
    assert tensor.data_ptr() == array.unsafe_buffer_pointer()
    assert t2j(tensor).unsafe_buffer_pointer() == tensor.data_ptr()


def test_bridge_converted_memory_outlives_its_first_owner():
    tensor = j2t(jnp.arange(1000.0) + 1)
    array = t2j(torch.arange(1000.0) + 1)
    np.testing.assert_array_equal(tensor, array)


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.T,
        lambda t: t[:, ::2],
        lambda t: t.expand(2, 3, 4),
        lambda t: t[1:, 1:],
        lambda t: t.requires_grad_(),
        lambda t: torch.nn.Parameter(t),
        lambda t: torch.complex(t, t).conj(),
        lambda t: torch.complex(t, t).conj().imag,
    ],
    ids=["T", "step", "expand", "corner", "grad", "parameter", "conj", "neg"],
)
def test_bridge_t2j_of_any_tensor(view):
    tensor = view(torch.arange(12.0).reshape(3, 4))
    np.testing.assert_array_equal(t2j(tensor), tensor.detach().resolve_conj().resolve_neg())


def test_bridge_wide_tensors_become_narrow_without_x64():
    assert t2j(torch.arange(3)).dtype == jnp.int32
    assert t2j(torch.ones(3, dtype=torch.float64)).dtype == jnp.float32


def test_bridge_trees_keep_other_leaves():
    tree = {"a": [torch.ones(2), 3], "b": ("text", None)}
    arrays = tree_t2j(tree)
    assert isinstance(arrays["a"][0], jax.Array)
    back = tree_j2t(arrays)
    assert torch.equal(back["a"][0], tree["a"][0])
    assert (back["a"][1], back["b"]) == (3, ("text", None))


def test_bridge_conversion_errors():
    with pytest.raises(TypeError, match="j2t converts JAX arrays, got 3"):
        j2t(3)
    with pytest.raises(TypeError, match="t2j converts tensors, got 3"):
        t2j(3)
    with pytest.raises(TypeError, match="use torch2jax"):
        jax.jit(j2t)(jnp.ones(2))


def test_bridge_size_is_torchs():
    assert Size is torch.Size
