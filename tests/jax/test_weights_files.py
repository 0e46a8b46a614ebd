"""safetensors files: what is written comes back, where it belongs, or the error names the file and the array."""

import functools
import json
import os
import re
import stat
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

import pax_jax as pax
from pax_jax._storage.checksum import checksum, checksums

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALL = [f"{sign}int{bits}" for sign in ("", "u") for bits in (2, 4)]
SMALL += ["float4_e2m1fn", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn"]
SMALL += ["float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"]
PLAIN = ["bool_", "bfloat16", "float16", "float32", "complex64"]
PLAIN += [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32)]
WIDE = ["float64", "int64", "uint64", "complex128"]
SWAPPED = ["float16", "float32", "int16", "uint32", "complex64", *WIDE]


class Holder(pax.Module):
    """Any tree as the state of a module."""

    def __init__(self, tree):
        super().__init__()
        self.register_state_subtree("tree", tree)


def numbers(dtype):
    values = [0, 1, 1, 0, 1, 1] if dtype.endswith("int2") else [0, 1, 2, 3, 1, 2]
    return np.array(values).reshape(2, 3).astype(jnp.dtype(getattr(jnp, dtype)))


def identical(a, b):
    """Say whether two leaves are of one type, dtype, weak type and sharding, and of the same bits."""
    if isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        return a.dtype == b.dtype and identical(jax.random.key_data(a), jax.random.key_data(b))
    if isinstance(a, jax.Array) and place(a) != place(b):
        return False
    if not hasattr(a, "dtype"):
        return type(a) is type(b) and a == b
    same_kind = type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape
    return same_kind and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def place(array):
    return array.weak_type, array.sharding, array.committed


def zeros(leaf):
    """Return a leaf of the same kind with other numbers."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.key(99, impl=jax.random.key_impl(leaf)) if not leaf.shape else leaf[::-1]
    if isinstance(leaf, jax.Array):
        return (
            leaf ^ leaf
            if leaf.dtype == bool
            else leaf * 0
            if leaf.weak_type
            else jnp.zeros_like(leaf)
        )
    return np.zeros_like(leaf) if isinstance(leaf, np.ndarray) else type(leaf)(0)


@functools.cache
def leaves_by_kind():
    with jax.enable_x64(True):
        wide = {name: jnp.asarray(numbers(name)) for name in WIDE}
    return {
        "small": {name: jnp.asarray(numbers(name)) for name in SMALL},
        "plain": {name: jnp.asarray(numbers(name)) for name in PLAIN},
        "wide": wide,
        "numpy": {name: numbers(name) for name in [*SMALL, *PLAIN, *WIDE]},
        "orders": {
            **{name: numbers(name).astype(np.dtype(name).newbyteorder(">")) for name in SWAPPED},
            "columns first": np.asfortranarray(numbers("float32")),
            "part": numbers("float64")[:, ::-2],
        },
        "scalars": {
            "f": np.float64(0.1),
            "i": np.int64(2**62 + 1),
            "b": np.bool_(True),
            "h": np.float16(2),
        },
        "python": {"f": 0.1, "i": 2**62 + 1, "b": True, "c": 1 + 2j},
        "keys": {
            "one": jax.random.key(3),
            "rbg": jax.random.key(3, impl="rbg"),
            "many": jax.random.split(jax.random.key(1), 3),
        },
        "empty": {
            **{name: np.zeros((2, 0), getattr(jnp, name)) for name in [*SMALL, *PLAIN, *WIDE]},
            "jax": jnp.zeros((0, 3)),
            "int4 of JAX": jnp.zeros(0, jnp.int4),
            "none": None,
            "dict": {},
        },
        "weak": {
            "f": jnp.asarray(0.3),
            "i": jnp.asarray(2),
            "c": jnp.asarray(1j),
            "wide": jnp.broadcast_to(jnp.asarray(0.3), (2,)),
        },
    }


KINDS = ["small", "plain", "wide", "numpy", "orders", "scalars", "python", "keys", "empty", "weak"]


@pytest.mark.parametrize("kind", KINDS)
def test_leaves_of_every_dtype_and_kind_come_back_to_the_bit(kind, tmp_path):
    saved = Holder(leaves_by_kind()[kind])
    fresh = jax.tree.map(zeros, saved)
    pax.weights.save_safetensors(saved, tmp_path / "x")
    for loaded in (
        pax.weights.load_safetensors(fresh, tmp_path / "x"),
        fresh.load_state_dict(saved.state_dict()),
        fresh.load_state_dict(
            {
                k: np.asarray(x) if isinstance(x, jax.Array) and kind != "keys" else x
                for k, x in saved.state_dict().items()
            }
        ),
    ):
        for (path, a), b in zip(saved.state_dict().items(), jax.tree.leaves(loaded), strict=True):
            assert identical(a, b), (path, a, b)


def test_other_programs_read_the_file_and_theirs_load_here(tmp_path):
    net = Holder(
        {name: jnp.asarray(numbers(name)) for name in ["float8_e4m3fn", "bfloat16", "uint8"]}
    )
    pax.weights.save_safetensors(net, tmp_path / "ours")
    there = safetensors.torch.load_file(tmp_path / "ours")
    assert there["tree.float8_e4m3fn"].dtype == torch.float8_e4m3fn
    safetensors.torch.save_file(there, tmp_path / "theirs")
    loaded = pax.weights.load_safetensors(jax.tree.map(zeros, net), tmp_path / "theirs")
    assert all(map(identical, jax.tree.leaves(net), jax.tree.leaves(loaded)))
    with safetensors.safe_open(tmp_path / "ours", "np") as file:
        record = json.loads(file.metadata()["pax_jax"])
    assert record["checksums"]["tree.uint8"] == f"{checksum(numbers('uint8')):016x}"


def test_a_file_is_as_the_library_writes_it(tmp_path):
    arrays = {
        f"{name}-é": numbers(name) for name in [*PLAIN, *WIDE[:3], "float8_e5m2", "float8_e4m3fn"]
    }
    net = Holder({**arrays, "one": np.float32(2), "none": np.zeros((0, 2), np.int8)})
    pax.weights.save_safetensors(net, tmp_path / "ours")
    with safetensors.safe_open(tmp_path / "ours", "np") as file:
        metadata = dict(sorted(file.metadata().items()))
    leaves = {name: np.asarray(x) for name, x in net.state_dict().items()}
    theirs = safetensors.numpy.save(leaves, metadata)
    ours = (tmp_path / "ours").read_bytes()
    length = 8 + int.from_bytes(ours[:8], "little")
    assert ours[length:] == theirs[length:]
    assert json.loads(ours[8:length]) == json.loads(theirs[8:length])


def test_a_dtype_that_jax_lacks_is_named(tmp_path):
    packed = torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    safetensors.torch.save_file({"w": packed}, tmp_path / "x")
    with pytest.raises(ValueError, match=r"w in .*x is of F4, a dtype that JAX does not have"):
        pax.weights.load_safetensors(pax.Linear(2, 3), tmp_path / "x")


@pytest.mark.parametrize("shape", [(), (7,), (1, 1), (3, 0), (300, 5), (2, 3, 4, 5, 6), (9, 1000)])
def test_checksums_add_up_over_blocks_and_see_each_bit(shape):
    rng = np.random.default_rng(0)
    array = rng.normal(size=shape).astype(np.float32)
    whole = checksum(array)
    if array.size:
        damaged = np.array(array)
        damaged.view(np.uint8 if shape else np.uint32).reshape(-1)[rng.integers(array.size)] ^= 4
        assert checksum(damaged) != whole
    if len(shape) > 1 and array.size:
        rows, columns = shape[0] // 2, shape[1] // 3
        blocks = [(0, 0), (0, columns), (rows, 0), (rows, columns)]
        ends = [(rows, columns), (rows, None), (None, columns), (None, None)]
        parts = [
            checksum(array[i:stop, j:end], (i, j))
            for (i, j), (stop, end) in zip(blocks, ends, strict=True)
        ]
        assert sum(parts) % 2**64 == whole


@pytest.mark.parametrize("dtype", ["int4", "int8", "bfloat16", "float32", "float64", "complex64"])
def test_checksums_see_each_bit_and_two_of_them_wherever_an_array_is_cut(dtype):
    array = np.random.default_rng(0).integers(0, 7, (5, 2, 19)).astype(jnp.dtype(dtype))
    whole = checksum(array)
    for cut in range(1, 19):
        parts = checksum(array[..., :cut]), checksum(array[..., cut:], (0, 0, cut))
        assert sum(parts) % 2**64 == whole
    changed = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
    last = np.uint8(8 if dtype == "int4" else 128)
    for step in (7, 8, 16):
        changed[3::step] ^= last  # the signs of many
        assert checksum(array) != whole
        changed[3::step] ^= last


def test_large_arrays_have_the_same_checksums_in_threads():
    arrays = {name: np.arange(2**18 + name) for name in range(3)} | {"small": np.ones(3)}
    assert checksums(arrays) == {name: checksum(array) for name, array in arrays.items()}


def test_swapped_rows_change_a_checksum():
    array = np.arange(12.0).reshape(4, 3)
    assert (
        len({checksum(array), checksum(array[::-1]), checksum(array.T), checksum(array[:, ::-1])})
        == 4
    )


class Net(pax.Module):
    def __init__(self, seed=0):
        super().__init__()
        self.layer = pax.Linear(8, 8, rng_key=jax.random.key(seed))
        self.register_state("rate", jnp.asarray(0.3))


def differs(a, b):
    return not all(map(identical, jax.tree.leaves(a), jax.tree.leaves(b)))


def test_no_flipped_bit_gives_other_weights(tmp_path):
    path, net = tmp_path / "x", Net()
    pax.weights.save_safetensors(net, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    messages = []
    for at in rng.integers(8 * len(whole), size=150):
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        path.write_bytes(damaged)
        try:
            assert not differs(pax.weights.load_safetensors(Net(1), path), net), at
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(str(path) in message for message in messages)
    for length in rng.integers(len(whole), size=30):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is damaged, or no safetensors file") as caught:
            pax.weights.load_safetensors(Net(1), path)
        assert str(path) in str(caught.value)


def test_checksums_can_be_left_out_and_are_not_demanded(tmp_path):
    path, net = tmp_path / "x", Net()
    pax.weights.save_safetensors(net, path, checksums=False)
    assert not differs(pax.weights.load_safetensors(Net(1), path), net)
    pax.weights.save_safetensors(net, path)
    damaged = bytearray(path.read_bytes())
    damaged[-6] ^= 64
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"layer\..* in .*x is damaged: its checksum"):
        pax.weights.load_safetensors(Net(1), path)
    with pytest.raises(ValueError, match="is damaged"):
        pax.weights.load_partial(Net(1), path)
    pax.weights.load_safetensors(Net(1), path, checksums=False)
    pax.weights.load_partial(Net(1), path, checksums=False)


def test_a_file_of_another_shape_is_named(tmp_path):
    pax.weights.save_safetensors(pax.Linear(3, 3), tmp_path / "x")
    with pytest.raises(ValueError, match=r"/x does not fit Linear:\n  weight is float32\[3,3\]"):
        pax.weights.load_safetensors(pax.Linear(2, 3), tmp_path / "x")


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture
def umask():
    old = os.umask(0o022)
    yield
    os.umask(old)


def test_a_file_has_the_mode_and_the_place_that_people_expect(tmp_path, umask):
    path, net = tmp_path / "x", pax.Linear(2, 3)
    pax.weights.save_safetensors(net, path)
    assert mode(path) == 0o644
    path.chmod(0o664)
    pax.weights.save_safetensors(net, path)
    assert mode(path) == 0o664
    (tmp_path / "blobs").mkdir()
    (tmp_path / "latest").symlink_to("blobs/one")  # which is not there yet
    for _ in range(2):
        pax.weights.save_safetensors(net, tmp_path / "latest")
        assert (tmp_path / "latest").is_symlink()
        assert pax.weights.load_safetensors(pax.Linear(2, 3), tmp_path / "blobs" / "one") == net
    assert sorted(os.listdir(tmp_path / "blobs")) == ["one"]
    with pytest.raises(ValueError, match="blobs is not a file"):
        pax.weights.save_safetensors(net, tmp_path / "blobs")
    with pytest.raises(FileNotFoundError):
        pax.weights.save_safetensors(net, tmp_path / "nowhere" / "x")


def test_what_a_killed_save_left_is_taken_over_and_a_failed_one_leaves_nothing(
    tmp_path, monkeypatch
):
    (tmp_path / ".x.partial").write_bytes(b"half")
    net = pax.Linear(2, 3)
    pax.weights.save_safetensors(net, tmp_path / "x")
    assert os.listdir(tmp_path) == ["x"]
    before = (tmp_path / "x").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        pax.weights.save_safetensors(pax.Linear(2, 3), tmp_path / "x")
    assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == before


def test_a_read_only_file_is_not_replaced(tmp_path, monkeypatch):
    pax.weights.save_safetensors(pax.Linear(2, 3), tmp_path / "x")
    monkeypatch.setattr(os, "access", lambda path, how: False)
    with pytest.raises(PermissionError, match="x is read-only"):
        pax.weights.save_safetensors(pax.Linear(2, 3), tmp_path / "x")


def test_threads_that_write_one_file_wait_for_each_other(tmp_path):
    nets = [Net(seed) for seed in range(4)]
    save = lambda net: pax.weights.save_safetensors(net, tmp_path / "x")  # noqa: E731
    threads = [threading.Thread(target=save, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loaded = pax.weights.load_safetensors(Net(9), tmp_path / "x")
    assert sum(not differs(loaded, net) for net in nets) == 1
    assert os.listdir(tmp_path) == ["x"]


def test_two_arrays_of_one_name_are_an_error():
    twice = Holder({"a.b": jnp.ones(2), "a": {"b": jnp.zeros(2)}})
    net = pax.Sequential(pax.Linear(2, 2), pax.Linear(2, 2))
    last = lambda name: name.split(".")[1]  # noqa: E731
    with pytest.raises(ValueError, match=r"Two arrays of Holder have the name 'tree\.a\.b'"):
        pax.weights.to_torch(twice)
    with pytest.raises(ValueError, match=r"have the name 'tree\.a\.b'"):
        pax.weights.load_torch(twice, {"tree.a.b": torch.ones(2)})
    with pytest.raises(ValueError, match=r"have the name 'weight' .*: the second is '1\.weight'"):
        pax.weights.to_torch(net, last)
    with pytest.raises(ValueError, match="have the name 'weight'"):
        pax.weights.load_torch(net, torch.nn.Linear(2, 2).state_dict(), last)
    with pytest.raises(ValueError, match=r"have the path 'tree\.a\.b'"):
        twice.state_dict()


def test_a_dtype_that_torch_lacks_is_named():
    with pytest.raises(ValueError, match=r"tree\.x is uint4\[2\], which cannot be a tensor"):
        pax.weights.to_torch(Holder({"x": jnp.ones(2, jnp.uint4)}))


def test_what_is_loaded_is_a_copy():
    given = {"weight": np.ones((2, 3), np.float32), "bias": np.ones(3, np.float32)}
    tensors = {"weight": torch.ones(3, 2), "bias": torch.ones(3)}
    arrays = {name: jnp.asarray(x) for name, x in given.items()}
    net = pax.Linear(2, 3)
    loaded = [net.load_state_dict(given), net.load_state_dict(arrays)]
    loaded += [
        pax.weights.load_torch(net, tensors),
        pax.weights.load_torch(net, {"weight": given["weight"].T, "bias": given["bias"]}),
    ]
    loaded += [pax.weights.load_partial(net, arrays)[0]]
    for array in arrays.values():
        array.delete()
    for name in given:
        given[name][:] = 5
        tensors[name].zero_()
    for one in loaded:
        assert (one.weight == 1).all()
        assert (one.bias == 1).all()
    table = Holder({"rows": np.ones(3)})
    rows = np.zeros(3)
    assert table.load_state_dict({"tree.rows": rows}).tree["rows"] is not rows


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("float16", 70000.0), ("float8_e4m3fn", 1000.0), ("int8", 300), ("uint8", -1)],
)
@pytest.mark.parametrize("library", [np, jnp])
def test_a_cast_that_changes_numbers_is_refused(dtype, value, library):
    net = Holder(jnp.zeros(2, dtype))
    given = {"tree": library.asarray([1, value], "int32" if "int" in dtype else "float32")}
    with pytest.raises(ValueError, match=rf"tree cannot be cast from \w+ to {dtype}: not all"):
        net.load_state_dict(given, cast=True)
    with pytest.raises(ValueError, match="tree cannot be cast"):
        pax.weights.load_partial(net, given, cast=True)
    given["tree"] = given["tree"][:1].repeat(2)
    assert net.load_state_dict(given, cast=True).tree.dtype == dtype


def test_no_number_becomes_one_of_another_kind(tmp_path):
    pax.weights.save_safetensors(Holder(3), tmp_path / "x")
    with pytest.raises(ValueError, match=r"tree is int64\[\], expected float"):
        pax.weights.load_safetensors(Holder(0.5), tmp_path / "x")
    pax.weights.save_safetensors(Holder(jax.random.key(0)), tmp_path / "x")
    with pytest.raises(ValueError, match=r"tree is uint32\[2\], expected key<rbg>\[\]"):
        pax.weights.load_safetensors(Holder(jax.random.key(0, impl="rbg")), tmp_path / "x")


@pytest.mark.parametrize("tree", [{"a": jnp.ones(1)}, jnp.ones(1), pax.Linear])
def test_weights_are_those_of_a_module(tree, tmp_path):
    weights = pax.weights
    for call in (
        lambda: weights.save_safetensors(tree, tmp_path / "x"),
        lambda: weights.load_safetensors(tree, tmp_path / "x"),
        lambda: weights.load_partial(tree, {}),
        lambda: weights.to_torch(tree),
        lambda: weights.load_torch(tree, {}),
    ):
        with pytest.raises(
            TypeError, match=r"takes a module of pax_jax, got .*checkpoint` saves any"
        ):
            call()
    assert not (tmp_path / "x").exists()


def test_paths_are_those_of_a_shell_and_errors_name_them(tmp_path, monkeypatch):
    net = pax.Linear(2, 3)
    monkeypatch.setenv("HOME", str(tmp_path))
    pax.weights.save_safetensors(net, "~/x")
    assert pax.weights.load_safetensors(net, os.fsencode(tmp_path / "x")) == net
    for path, error, said in [
        (3, TypeError, "A path is a string or a `pathlib.Path`, got 3 of type int"),
        ("", ValueError, "The path is empty"),
    ]:
        with pytest.raises(error, match=said):
            pax.weights.save_safetensors(net, path)
        with pytest.raises(error, match=said):
            pax.checkpoint.Checkpoints(path)
    with pytest.raises(OSError, match=re.escape(f"{tmp_path} cannot be read")):
        pax.weights.load_safetensors(net, tmp_path)


def test_what_a_file_cannot_hold_is_named(tmp_path):
    for tree, said in [
        (
            np.ones(1).view(np.recarray),
            "tree is of class recarray and would come back as a plain array",
        ),
        ({"\ud800": jnp.ones(1)}, r"half a character, .*tree\.\\ud800"),
        (jnp.zeros((), jnp.int1), "tree is an array of int1, which JAX hands out as another"),
    ]:
        with pytest.raises(ValueError, match=said):
            pax.weights.save_safetensors(Holder(tree), tmp_path / "x")
    assert not os.listdir(tmp_path)
