"""When conversions copy, when they share memory, and what sharing means."""

import gc
import subprocess
import sys
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from torch2jax_bridge import dtype_t2j, j2t, t2j, tree_j2t, tree_t2j

NAMES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
]
WIDE = {"int64": "int32", "uint64": "uint32", "float64": "float32", "complex128": "complex64"}


def bits(values):
    """The bytes of a tensor or an array, in row-major order."""
    if isinstance(values, torch.Tensor):
        plain = torch.empty(values.shape, dtype=values.dtype).copy_(values.detach())
        return bytes(plain.reshape(-1).view(torch.uint8).tolist())
    return np.asarray(values).tobytes()


def is_shared(array, tensor):
    return array.unsafe_buffer_pointer() == tensor.data_ptr()


@st.composite
def views(draw):
    """A tensor of any dtype as a view of another: permuted, stepped, cut, expanded, unsqueezed."""
    dtype = getattr(torch, draw(st.sampled_from(NAMES)))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    count = int(np.prod(shape)) * dtype.itemsize
    raw = torch.arange(count, dtype=torch.int64).mul(37).remainder(97).to(torch.uint8)
    if dtype == torch.bool:
        raw = raw % 2
    tensor = raw.view(dtype).reshape(shape)
    for _ in range(draw(st.integers(0, 3))):
        tensor = draw(st.sampled_from([permuted, stepped, cut, expanded, unsqueezed]))(tensor, draw)
    return tensor


def permuted(tensor, draw):
    return tensor.permute(draw(st.permutations(range(tensor.ndim))))


def stepped(tensor, draw):
    return tensor[..., :: draw(st.integers(1, 3))] if tensor.ndim else tensor


def cut(tensor, draw):
    return tensor[draw(st.integers(0, 2)) :] if tensor.ndim else tensor


def expanded(tensor, draw):
    return tensor.expand(draw(st.integers(0, 3)), *tensor.shape)


def unsqueezed(tensor, draw):
    return tensor.unsqueeze(draw(st.integers(0, tensor.ndim)))


@given(tensor=views(), copy=st.sampled_from([None, True, False]))
def test_bridge_any_view_is_converted_or_refused(tensor, copy):
    with jax.enable_x64(True):
        shareable = tensor.numel() == 0 or is_shared(t2j(tensor), tensor)
        if copy is False and not shareable:
            with pytest.raises(ValueError, match="pass copy=None for a copy"):
                t2j(tensor, copy=copy)
            return
        array = t2j(tensor, copy=copy)
        assert (array.shape, array.dtype) == (tuple(tensor.shape), dtype_t2j(tensor.dtype))
        assert bits(array) == bits(tensor)
        assert tensor.numel() == 0 or is_shared(array, tensor) == (shareable and not copy)
        back = j2t(array)
        assert (back.shape, back.dtype) == (tensor.shape, tensor.dtype)
        assert bits(back) == bits(tensor)


@given(tensor=views())
def test_bridge_narrowing_is_what_torch_does(tensor):
    name = str(tensor.dtype).removeprefix("torch.")
    array = t2j(tensor)
    assert array.dtype.name == WIDE.get(name, name)
    assert bits(array) == bits(tensor.to(getattr(torch, array.dtype.name)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("copy", [None, False])
def test_bridge_sharing_by_dtype(name, copy):
    with jax.enable_x64(True):
        array = jnp.zeros((4, 16)).astype(name)
        tensor = j2t(array, copy=copy)
        assert is_shared(array, tensor)
        assert is_shared(t2j(tensor, copy=copy), tensor)
        assert not is_shared(array, j2t(array, copy=True))
        assert not is_shared(t2j(tensor, copy=True), tensor)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (2, 0, 1)], ids=str)
def test_bridge_a_permuted_tensor_is_shared_with_its_strides(order):
    tensor = torch.arange(24.0).reshape(2, 3, 4).permute(order)
    array = t2j(tensor, copy=False)
    assert is_shared(array, tensor)
    assert j2t(array).stride() == tensor.stride()
    np.testing.assert_array_equal(jax.jit(lambda x: x * 2 + 1)(array), tensor * 2 + 1)


@pytest.mark.parametrize("shape", [(1, 16), (16, 1), (1, 16, 1), (1, 1, 1), (4, 1, 4)], ids=str)
def test_bridge_strides_of_dimensions_of_one_do_not_matter(shape):
    base = torch.arange(16.0)
    dense = torch.empty(shape).stride()
    strides = [77 if size == 1 else step for size, step in zip(shape, dense, strict=True)]
    tensor = torch.as_strided(base, shape, strides)
    array = t2j(tensor, copy=False)
    assert is_shared(array, tensor)
    np.testing.assert_array_equal(array, tensor)


@pytest.mark.parametrize("offset", range(0, 20, 3))
def test_bridge_memory_is_shared_where_it_is_aligned(offset):
    whole = torch.arange(64.0)
    tensor = whole[offset : offset + 32]
    aligned = tensor.data_ptr() % 64 == 0
    array = t2j(tensor)
    np.testing.assert_array_equal(array, tensor)
    assert is_shared(array, tensor) == aligned
    if not aligned:
        with pytest.raises(ValueError, match=r"begins \d+ bytes after a multiple of 64"):
            t2j(tensor, copy=False)


WITH_OBSTACLES = {
    r"leave gaps": lambda: torch.arange(6.0)[::2],
    r"repeats": lambda: torch.ones(1).expand(3),
    r"conjugation": lambda: torch.ones(3, dtype=torch.complex64).conj(),
    r"negation": lambda: torch.ones(3, dtype=torch.complex64).conj().imag,
    r"float32 of torch.float64": lambda: torch.ones(3, dtype=torch.float64),
    r"made of zeros": lambda: torch._efficientzerotensor((3,)),
}


@pytest.mark.parametrize("reason", WITH_OBSTACLES)
def test_bridge_a_needed_copy_is_made_or_refused(reason):
    tensor = WITH_OBSTACLES[reason]()
    for copy in (None, True):
        expected = torch.zeros(3) if "zeros" in reason else tensor.resolve_conj().resolve_neg()
        np.testing.assert_array_equal(t2j(tensor, copy=copy), expected)
    with pytest.raises(ValueError, match=rf"of shape \(3,\), because .*{reason}.*copy=None"):
        t2j(tensor, copy=False)


def test_bridge_trees_pass_copy_on():
    tree = {"a": [torch.ones(16)], "b": "text"}
    shared, copied = tree_t2j(tree, copy=False), tree_t2j(tree, copy=True)
    assert is_shared(shared["a"][0], tree["a"][0])
    assert not is_shared(copied["a"][0], tree["a"][0])
    assert tree_j2t(shared, copy=False)["a"][0].data_ptr() == tree["a"][0].data_ptr()
    assert tree_j2t(shared, copy=True)["a"][0].data_ptr() != tree["a"][0].data_ptr()
    with pytest.raises(ValueError, match="t2j cannot share"):
        tree_t2j([torch.ones(4)[::2]], copy=False)


def test_bridge_a_copy_may_be_written_to():
    array = jnp.zeros(16)
    j2t(array, copy=True).add_(1)
    tensor = torch.zeros(16)
    copied = t2j(tensor, copy=True)
    tensor.add_(1)
    assert not array.any()
    assert not copied.any()


def test_bridge_writes_to_shared_memory_are_seen_by_both():
    array = jnp.zeros(16)
    tensor = j2t(array)
    tensor[0] = 5
    assert array[0] == 5
    shared = t2j(tensor)
    tensor[1] = 6
    assert shared[1] == 6
    assert array[1] == 6


def test_bridge_donating_an_array_made_from_a_tensor_leaves_the_tensor():
    tensor = torch.ones(4096)
    array = t2j(tensor, copy=False)
    result = jax.jit(lambda x: x + 1, donate_argnums=0)(array)
    assert array.is_deleted()
    assert result.unsafe_buffer_pointer() != tensor.data_ptr()
    result.block_until_ready()
    assert torch.equal(tensor, torch.ones(4096))
    with pytest.raises(ValueError, match=r"j2t needs an array that is alive, got a donated one"):
        j2t(array)


def test_bridge_donating_an_array_that_a_tensor_shares_leaves_the_tensor():
    array = jnp.ones(4096) + 0
    tensor = j2t(array)
    result = jax.jit(lambda x: x + 1, donate_argnums=0)(array)
    assert result.unsafe_buffer_pointer() != tensor.data_ptr()
    assert torch.equal(tensor, torch.ones(4096))
    np.testing.assert_array_equal(result, 2.0)


def test_bridge_memory_lives_as_long_as_either_side():
    tensors = [j2t(jnp.full(4096, float(i))) for i in range(20)]
    arrays = [t2j(torch.full((4096,), float(i)), copy=False) for i in range(20)]
    gc.collect()
    noise = [torch.full((4096,), -1.0) for _ in range(40)] + [j2t(jnp.full(4096, -1.0))]
    for i, (tensor, array) in enumerate(zip(tensors, arrays, strict=True)):
        assert (tensor == i).all()
        assert (array == i).all()
    del noise


def test_bridge_a_freed_side_frees_the_memory():
    tensor = torch.ones(4096)
    alive = weakref.ref(tensor.untyped_storage())
    array = t2j(tensor, copy=False)
    pointer = tensor.data_ptr()
    del tensor
    assert array.unsafe_buffer_pointer() == pointer
    assert array[-1] == 1
    del array
    gc.collect()
    assert alive() is None


def test_bridge_gradients_are_not_tracked():
    tensor = torch.ones(16, requires_grad=True)
    array = t2j(tensor * 2, copy=None)
    assert not j2t(array).requires_grad
    assert is_shared(t2j(tensor, copy=False), tensor)


class Plain(torch.Tensor):
    pass


def test_bridge_subclasses_and_parameters_are_tensors():
    for tensor in (torch.nn.Parameter(torch.ones(16)), torch.ones(16).as_subclass(Plain)):
        assert is_shared(t2j(tensor, copy=False), tensor)


def fake():
    with FakeTensorMode():
        return torch.ones(3)


NOT_CONVERTIBLE = {
    "sparse_coo; make it dense": lambda: torch.eye(3).to_sparse(),
    "_mkldnn; make it dense": lambda: torch.ones(3).to_mkldnn(),
    "a FakeTensor on the device cpu": fake,
    "a Tensor on the device meta": lambda: torch.ones(3, device="meta"),
    "no dtype like torch.float4_e2m1fn_x2": lambda: torch.empty(2, dtype=torch.float4_e2m1fn_x2),
    "no dtype like torch.int4": lambda: torch.empty(2, dtype=torch.int4),
}


@pytest.mark.parametrize("message", NOT_CONVERTIBLE)
def test_bridge_tensors_that_are_not_converted(message):
    with pytest.raises(TypeError, match=message):
        t2j(NOT_CONVERTIBLE[message]())


@pytest.mark.parametrize("transform", [torch.func.vmap, torch.func.grad], ids=["vmap", "grad"])
def test_bridge_t2j_inside_a_transform_is_refused(transform):
    with pytest.raises(TypeError, match="inside a transform; use jax2torch"):
        transform(t2j)(torch.ones(3))


@pytest.mark.parametrize("name", ["int4", "uint4", "int2", "float8_e3m4", "float4_e2m1fn"])
def test_bridge_dtypes_that_torch_lacks_are_refused(name):
    with pytest.raises(TypeError, match=f"PyTorch has no dtype like {name}"):
        j2t(jnp.zeros(4, name))


def test_bridge_typed_keys_are_refused():
    with pytest.raises(TypeError, match=r"typed random keys; convert jax.random.key_data\(key\)"):
        j2t(jax.random.key(0))
    assert j2t(jax.random.key_data(jax.random.key(0))).dtype == torch.uint32


SEVERAL_DEVICES = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_num_cpu_devices", 3)
from torch2jax_bridge import j2t, t2j
third = jax.device_put(jnp.arange(64.0), jax.devices()[2])
assert j2t(third).data_ptr() == third.unsafe_buffer_pointer()
assert t2j(j2t(third)).devices() == {jax.devices()[0]}
mesh = jax.make_mesh((3,), ("x",))
for spec in (jax.P("x"), jax.P()):
    spread = jax.device_put(jnp.arange(3.0), jax.NamedSharding(mesh, spec))
    try:
        j2t(spread)
    except ValueError as error:
        assert "got one of shape (3,) on 3; move it with jax.device_put" in str(error), error
    else:
        raise AssertionError(spec)
"""


def test_bridge_several_devices():
    subprocess.run([sys.executable, "-c", SEVERAL_DEVICES], check=True)
