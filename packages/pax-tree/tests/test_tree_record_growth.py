"""Records of many attributes: their memory, and names of one index."""

import gc
import pickle
import random
import sys
import tracemalloc
import weakref

import pytest

import pax_tree


class Open(pax_tree.Record):
    """Floats are children of kind 0, bools of kind 1; all else is static."""

    def _classify(self, name, value):
        return {float: 0, bool: 1}.get(type(value))


def grown(count, value, cls=Open):
    made = cls()
    for i in range(count):
        setattr(made, f"a{i}", value)
    return made


def kept_bytes(count, value):
    """The bytes that are kept of a record of a class of its own, with all that it keeps alive."""
    cls = type("Fresh", (Open,), {})
    grown(2, value, cls)
    gc.collect()
    tracemalloc.start()
    made = grown(count, value, cls)
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(vars(made)) == count
    return kept


@pytest.mark.parametrize("value", [1.0, 1], ids=["child", "static"])
def test_memory_grows_as_the_attributes_do(value):
    few, many = kept_bytes(400, value), kept_bytes(1200, value)
    assert many < 6 * few


def test_a_second_object_of_many_attributes_has_the_same_structure():
    assert pax_tree.tree_structure(grown(600, 1.0)) == pax_tree.tree_structure(grown(600, 1.0))


@pytest.mark.parametrize("seed", range(20))
def test_structures_with_one_beginning_keep_their_names(seed):
    """Many records grow from one, with names in many orders; two dicts are the model of each."""
    draw = random.Random(seed)
    names = [f"b{i}" for i in range(14)]
    start = grown(draw.choice([0, 8, 9, 12]), 1.0)
    found = [(start, dict(vars(start)), {})]
    for _ in range(60):
        base, children, statics = draw.choice(found)
        record, children, statics = pax_tree.tree_map(lambda x: x, base), {**children}, {**statics}
        name, value = draw.choice(names), draw.choice([1.0, True, "static"])
        setattr(record, name, value)
        if value == "static" and name not in children:
            statics[name] = value
        else:  # a child stays one
            statics.pop(name, None)
            children[name] = value
        found.append((record, children, statics))
    for record, children, statics in found:
        assert dict(vars(record)) == {**children, **statics}
        assert {name: getattr(record, name) for name in children} == children
        assert not any(hasattr(record, x) for x in names if x not in {**children, **statics})
        paths = [path[0].name for path, _ in pax_tree.tree_leaves_with_path(record)]
        assert paths == list(children)
        assert pax_tree.tree_leaves(record) == list(children.values())


def test_names_that_only_others_had_are_let_go():
    base = grown(20, 1.0)
    before = len(pax_tree.tree_leaves(base))
    names = [sys.intern(f"only here {i}") for i in range(3000)]  # Python 3.12 keeps these for ever
    gc.collect()
    tracemalloc.start()
    for name in names:
        other = pax_tree.tree_map(lambda x: x, base)
        setattr(other, name, 1.0)
    del other
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 100_000
    assert len(pax_tree.tree_leaves(base)) == before


def test_what_records_held_is_dropped_with_them_though_others_of_their_class_live():
    def made():
        record = Open()
        record.weight, record.act = 1.0, lambda x: x
        return record

    kept, dropped = made(), [weakref.ref(made().act) for _ in range(8)]
    gc.collect()
    assert kept.act(1) == 1
    assert not any(reference() for reference in dropped)


def test_equal_statics_are_one_structure_though_the_first_object_is_gone():
    def made(rate):
        record = Open()
        record.rate = f"rate {rate}"  # a new object in each
        return record

    first = made(1)
    others = [made(1) for _ in range(8)]
    structure = pax_tree.tree_structure(first)
    del first
    gc.collect()
    assert all(pax_tree.tree_structure(x) == structure for x in [*others, made(1)])
    assert pax_tree.tree_structure(made(2)) != structure


def test_pickled_records_have_the_structure_of_others_and_names_that_differ():
    record = grown(300, 1.0)
    again = pickle.loads(pickle.dumps(record))
    assert pax_tree.tree_structure(again) == pax_tree.tree_structure(record)
    assert pax_tree.record_spec(again) is pax_tree.record_spec(record)
    assert pax_tree.record_spec(grown(300, 1.0)) is pax_tree.record_spec(again)
    with pytest.raises(TypeError, match="names that differ"):
        pax_tree._C._make_spec(Open, ("a", "a"), (0, 0), {})
