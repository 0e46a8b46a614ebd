"""Threads that share trees, structures, records and the registry, while some of them change them."""

import sys
import threading
from collections import OrderedDict

import pytest

import pax_tree

THREADS = 8
CALLS = 400


@pytest.fixture(autouse=True)
def often_switched():
    """Threads take turns often where they cannot run at once."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def run(*workers):
    """Every worker in turn on eight threads, from the same moment on; the first error is raised."""
    barrier, errors = threading.Barrier(THREADS), []

    def work(worker, number):
        try:
            barrier.wait()
            for i in range(CALLS):
                worker(number, i)
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(workers[n % len(workers)], n)) for n in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def ignoring_changes(function):
    """The function, of which a container that changes under its hands is no error."""

    def worker(number, i):
        try:
            function(number, i)
        except (RuntimeError, ValueError) as error:
            if not any(word in str(error) for word in ("changed", "structure", "mutated")):
                raise

    return worker


class Cell(pax_tree.Record):
    def __init__(self):
        self.x = 1.0
        self.y = [2.0, 3.0]
        self.mode = "a"

    def _classify(self, name, value):
        return None if isinstance(value, (str, int)) else 0


def test_walks_of_a_tree_that_others_change():
    tree = {f"k{i}": [float(i), {"a": 1.0, "b": 2.0, "c": (3.0,)}] for i in range(8)}
    tree["o"] = OrderedDict(a=1.0, b=2.0)  # not changed: CPython 3.13 itself may crash then

    def read(number, i):
        leaves, structure = pax_tree.tree_flatten(tree)
        assert len(leaves) == structure.num_leaves
        structure.unflatten(leaves)
        pax_tree.tree_map(lambda x, y: (x, y), tree, tree)
        pax_tree.tree_leaves_with_path(tree)
        structure.flatten_up_to(tree)

    def change(number, i):
        key = f"k{i % 8}"
        tree[key][1][f"new{number}"] = [float(i)] * (i % 5)
        tree[key].append(float(i))
        tree[key][1].pop(f"new{number}", None)
        del tree[key][2:]
        tree.pop(f"extra{number}", None)
        tree[f"extra{number}"] = {"a": {}, "b": object()}

    run(ignoring_changes(read), ignoring_changes(read), ignoring_changes(change))


def test_orders_of_keys_are_found_by_many_threads():
    def flatten(number, i):
        keys = [f"{number % 3}-{(i * j) % 97}" for j in range(1, i % 40 + 2)]
        tree = {key: len(key) for key in keys}
        leaves, structure = pax_tree.tree_flatten(tree)
        assert leaves == [tree[key] for key in sorted(tree)]
        assert structure.unflatten(leaves) == tree
        assert [k.key for ((k,), _) in pax_tree.tree_leaves_with_path(tree)] == sorted(tree)

    run(flatten)


def test_leaves_that_others_change():
    structure = pax_tree.tree_structure({"a": (0, 0), "b": [0, 0], "c": {"x": 0, "y": 0, "z": 0}})
    leaves = [object() for _ in range(structure.num_leaves)]

    def unflatten(number, i):
        try:
            tree = structure.unflatten(leaves)
        except ValueError as error:
            if "Too " not in str(error):
                raise
        else:
            assert pax_tree.tree_structure(tree) == structure

    def change(number, i):
        leaves.append(object())
        leaves.pop()
        leaves[i % 7] = object()

    run(unflatten, change)


def test_records_that_others_change():
    cell = Cell()

    def write(number, i):
        cell.x = float(i)
        cell.mode = "abc"[i % 3]
        setattr(cell, f"child{number}", [float(i)])
        setattr(cell, f"static{number}", i)
        cell.y = [float(i)] * 2 if i % 2 else float(i)

    def read(number, i):
        leaves, structure = pax_tree.tree_flatten(cell)
        again = structure.unflatten(leaves)
        assert pax_tree.tree_structure(again) == structure
        assert cell.mode in "abc"
        assert isinstance(cell.x, float)
        assert len(vars(again)) >= 3
        pax_tree.tree_leaves_with_path(cell)

    run(write, read)
    assert {f"child{n}" for n in range(0, THREADS, 2)} <= set(vars(cell))


def test_equal_records_have_one_spec():
    specs = [[] for _ in range(THREADS)]

    def make(number, i):
        cell = Cell()
        cell.mode = f"mode {i}"
        cell.size = i
        specs[number].append(pax_tree.record_spec(cell))

    run(make)
    for same in zip(*specs, strict=True):
        assert len(set(map(id, same))) == 1


def test_classes_are_registered_while_others_walk():
    tree = [1, {"a": (2, None)}]

    def register(number, i):
        cls = type(f"Node{number}", (), {"__init__": lambda self, x: setattr(self, "x", x)})
        assert pax_tree.tree_leaves([cls(3)])[0].x == 3
        pax_tree.register_pytree_node(cls, lambda n: ((n.x,), None), lambda _, xs: cls(*xs))
        assert pax_tree.tree_leaves([cls(3)]) == [3]
        if i % 2:
            pax_tree.unregister_pytree_node(cls)

    def walk(number, i):
        assert pax_tree.tree_leaves(tree) == [1, 2]
        assert hash(pax_tree.tree_structure(tree)) == hash(pax_tree.tree_structure(tree))

    run(register, walk)
