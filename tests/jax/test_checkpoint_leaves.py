"""What is saved comes back, of every kind of leaf, where it belongs and as it was at the moment of saving."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import pax_jax as pax
from tests.jax.test_weights_files import KINDS, identical, leaves_by_kind, zeros

pytestmark = pytest.mark.usefixtures("quick_compilation")


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    return [
        x
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
        if not identical(x, y)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_leaves_of_every_dtype_and_kind_come_back_to_the_bit(kind, tmp_path):
    tree = leaves_by_kind()[kind]
    pax.checkpoint.save(tmp_path, tree)
    assert not same(pax.checkpoint.load(tmp_path, jax.tree.map(zeros, tree)), tree)
    loaded, report = pax.checkpoint.load_partial(tmp_path, {**jax.tree.map(zeros, tree), "new": 1})
    assert report.missing == ("new",)
    assert not same({x: loaded[x] for x in tree}, tree)


@pytest.mark.parametrize(
    "tree",
    [
        {},
        None,
        {"a": None},
        [],
        pax.Sequential(jax.nn.relu),
        {"a": "x", "b": b"y", "c": "ü\ud800", "n": float("nan"), "i": float("-inf")},
        jnp.ones(2),
        3,
        {"a/b": jnp.ones(1), "é ": jnp.ones(2), "..": jnp.ones(3), "": jnp.ones(4)},
        {
            name: jnp.full(2, i)
            for i, name in enumerate(["a", "a/", "a//", "/", "%2F", "\ud800", "A"])
        },
    ],
    ids=[
        "dict",
        "none",
        "none in dict",
        "list",
        "module",
        "texts",
        "array",
        "number",
        "odd keys",
        "slashes",
    ],
)
def test_any_pytree_is_saved(tree, tmp_path):
    pax.checkpoint.save(tmp_path, tree)
    loaded = pax.checkpoint.load(tmp_path, tree)
    assert repr(loaded) == repr(tree)


@pytest.mark.parametrize(
    ("leaf", "said"),
    [
        (object(), r"x\.0 is an object, which cannot be saved"),
        (torch.ones(2), r"x\.0 is a Tensor, which cannot be saved"),
        (jax.ShapeDtypeStruct((2,), jnp.float32), "is a ShapeDtypeStruct"),
        (np.array(["a"]), r"x\.0 is an array of <U1, which cannot be saved: its elements are not"),
        (np.array([object()]), "is an array of object"),
        (np.ones(2, np.longdouble), "is an array of float"),
        (np.str_("a"), "is a str_"),
        (
            np.ma.masked_array([1.0, 2.0], [0, 1]),
            "is of class MaskedArray and would come back as a plain",
        ),
        (np.rec.array([(1.0,)], dtype=[("a", "f4")]), "is of class recarray and would come back"),
        (np.datetime64("2020-01-01"), "is a datetime64"),
    ],
)
def test_what_cannot_be_saved_is_named_before_anything_is_written(leaf, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        pax.checkpoint.save(tmp_path / "steps", {"x": [leaf]})
    assert not (tmp_path / "steps").exists()


def test_a_traced_and_a_donated_array_are_named(tmp_path):
    @jax.jit
    def traced(x):
        pax.checkpoint.save(tmp_path / "steps", {"x": x})

    with pytest.raises(ValueError, match=r"x is .* of a function that is being traced"):
        traced(jnp.ones(2))
    gone = jnp.ones(2)
    gone.delete()
    with pytest.raises(ValueError, match="x is an array that was deleted or donated"):
        pax.checkpoint.save(tmp_path / "steps", {"x": gone})
    assert not (tmp_path / "steps").exists()


@pytest.mark.parametrize("tree", [[{0: 1, "0": 2}], {"a.b": 1, "a": {"b": 2}}])
def test_two_leaves_of_one_path_are_an_error(tree, tmp_path):
    with pytest.raises(ValueError, match=r"Two leaves have the path '[a0]\.[b0]': a key of a dict"):
        pax.checkpoint.save(tmp_path / "steps", tree)
    assert not (tmp_path / "steps").exists()


def test_a_save_holds_the_values_of_the_moment(tmp_path):
    tensor = torch.arange(250_000.0)
    rows = np.arange(250_000.0)
    tree = {
        "foreign": jax.dlpack.from_dlpack(tensor),
        "aliased": jnp.asarray(rows),
        "rows": rows,
        "donated": jnp.arange(250_000.0),
    }
    old = {name: np.array(x) for name, x in tree.items()}
    with pax.checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, tree)
        tensor.zero_()
        rows[:] = 0
        jax.jit(lambda x: x * 0, donate_argnums=0)(tree["donated"])
        loaded = checkpoints.load(
            {name: jnp.zeros_like(x) if name != "rows" else x for name, x in old.items()}
            | {"aliased": jnp.zeros(250_000)}
        )
    for name, array in old.items():
        assert (np.asarray(loaded[name]) == array).all(), name


def test_a_new_array_may_still_be_moved_and_a_placed_one_stays(tmp_path):
    net = pax.Linear(2, 3)
    placed = jax.device_put(net, jax.devices()[0])
    pax.checkpoint.save(tmp_path, net)
    for like in (net, placed):
        loaded = pax.checkpoint.load(tmp_path, like)
        assert loaded.weight.committed == like.weight.committed
    abstract = jax.eval_shape(lambda: pax.Linear(2, 3, rng_key=jax.random.key(0)))
    assert not pax.checkpoint.load(tmp_path, abstract).weight.committed


def test_a_cast_that_changes_numbers_is_refused_by_path(tmp_path):
    pax.checkpoint.save(tmp_path, {"a": {"b": jnp.asarray([1.0, 70000.0])}})
    like = {"a": {"b": jnp.zeros(2, jnp.float16)}}
    for load in (pax.checkpoint.load, pax.checkpoint.load_partial):
        with pytest.raises(ValueError, match=r"a\.b cannot be cast from float32 to float16"):
            load(tmp_path, like, cast=True)
    wide = {"a": {"b": jnp.zeros(2, jnp.bfloat16)}}
    assert pax.checkpoint.load(tmp_path, wide, cast=True)["a"]["b"].dtype == jnp.bfloat16


def test_a_weak_type_is_as_it_was_saved_whatever_it_is_loaded_into(tmp_path):
    for step, value in enumerate([jnp.asarray(0.3), jnp.asarray(np.float32(0.3))]):
        pax.checkpoint.save(tmp_path, [value], step)
        for like in ([jnp.asarray(0.1)], [jnp.zeros(())], [jax.ShapeDtypeStruct((), jnp.float32)]):
            (loaded,) = pax.checkpoint.load(tmp_path, like)
            assert loaded.weak_type == value.weak_type
            dtype = jax.jit(lambda x, y: x * y)(loaded, jnp.ones(2, jnp.bfloat16)).dtype
            assert dtype == (jnp.bfloat16 if value.weak_type else jnp.float32)


def test_checksums_can_be_left_out(tmp_path):
    net = pax.Linear(2, 3)
    pax.checkpoint.save(tmp_path, net, checksums=False)
    assert pax.checkpoint.load(tmp_path, pax.Linear(2, 3)) == net
    pax.checkpoint.save(tmp_path, net)
    assert pax.checkpoint.load(tmp_path, pax.Linear(2, 3), checksums=False) == net
