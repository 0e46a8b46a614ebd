"""dm-tree's API: what can be said without dm-tree at hand."""

import contextlib
import gc
import sys
import threading
import weakref
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Mapping, Sequence

import pytest

from pax_tree import dm

pytestmark = pytest.mark.usefixtures("quick_collections")

Pair = namedtuple("Pair", "a b")


class OwnSequence(Sequence):
    def __init__(self, items):
        self.items = list(items)

    def __getitem__(self, i):
        return self.items[i]

    def __len__(self):
        return len(self.items)


class OwnMapping(Mapping):
    def __init__(self, pairs):
        self.content = dict(pairs)

    def __getitem__(self, key):
        return self.content[key]

    def __iter__(self):
        return iter(self.content)

    def __len__(self):
        return len(self.content)


def keep(*leaves):
    return leaves[-1]


FUNCTIONS = {
    "flatten": dm.flatten,
    "unflatten_as": lambda tree: dm.unflatten_as(tree, [0]),
    "map_structure": lambda tree: dm.map_structure(keep, tree),
    "map_two": lambda tree: dm.map_structure(keep, tree, tree),
    "assert_same_structure": lambda tree: dm.assert_same_structure(tree, tree),
    "assert_shallow_structure": lambda tree: dm.assert_shallow_structure(tree, tree),
    "flatten_with_path": dm.flatten_with_path,
    "map_structure_with_path": lambda tree: dm.map_structure_with_path(keep, tree),
    "map_structure_up_to": lambda tree: dm.map_structure_up_to(tree, keep, tree),
    "traverse": lambda tree: dm.traverse(lambda x: None, tree),
    "traverse_up": lambda tree: dm.traverse_with_path(lambda p, x: None, tree, top_down=False),
}
WRAPPERS = {
    "list": lambda tree: [tree],
    "tuple": lambda tree: (tree,),
    "dict": lambda tree: {"a": tree},
    "ordered": lambda tree: OrderedDict(a=tree),
    "named": lambda tree: Pair(tree, tree),
    "sequence": lambda tree: OwnSequence([tree]),
    "mapping": lambda tree: OwnMapping({"a": tree}),
}
each_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@each_function
def test_deep_structures_end_in_recursion_error(wrap, function):
    tree = 0
    for _ in range(20_000):
        tree = wrap(tree) if wrap is not WRAPPERS["named"] else Pair(0, tree)
    with pytest.raises(RecursionError):
        function(tree)


@each_function
def test_cycles_end_in_recursion_error(function):
    cycle = []
    cycle.append({"again": cycle})
    with pytest.raises(RecursionError):
        function(cycle)


def failing(base, method):
    def fail(self, *_):
        raise OSError("from user code")

    return type("Failing", (base,), {method: fail})([(0, 1)])


USED = [(OwnSequence, "__iter__"), (OwnMapping, "__iter__"), (OwnMapping, "__getitem__")]


@pytest.mark.parametrize(("base", "method"), USED)
@each_function
def test_errors_of_user_code_come_out(base, method, function):
    with pytest.raises(OSError, match="from user code"):
        function([failing(base, method)])


@pytest.mark.parametrize("base", [OwnSequence, OwnMapping])
@each_function
def test_errors_of_methods_that_not_all_call(base, function):
    with contextlib.suppress(OSError):
        function([failing(base, "__len__")])
    assert dm.flatten([1]) == [1]  # no error is pending


class Unsortable:
    def __lt__(self, other):
        raise OSError("from user code")


@each_function
def test_errors_of_comparing_keys_come_out(function):
    with pytest.raises(OSError, match="from user code"):
        function({Unsortable(): 1, Unsortable(): 2})


@pytest.mark.parametrize("name", ["flatten", "flatten_with_path", "map_structure"])
def test_keys_that_do_not_sort_are_named(name):
    with pytest.raises(TypeError, match=r"\['x', 1\]") as error:
        FUNCTIONS[name]([{"x": 0, 1: 2}])
    assert isinstance(error.value.__cause__, TypeError)


def test_messages_name_the_place():
    with pytest.raises(ValueError, match=r"at the path \('a', 1\).*list of 2 elements.*type int"):
        dm.map_structure(keep, {"a": [1, [2, 3]]}, {"a": [1, 2]})
    with pytest.raises(TypeError, match=r"at the path \('a',\): .* a list of 1 .* a tuple of 1"):
        dm.assert_same_structure({"a": [1]}, {"a": (1,)})
    with pytest.raises(ValueError, match=r"at the root: .* keys \['a'\], .* keys \['b'\]"):
        dm.assert_same_structure({"a": 1}, {"b": 1})
    with pytest.raises(ValueError, match="has 2 leaves, but 3 were given"):
        dm.unflatten_as([1, [2]], [1, 2, 3])
    with pytest.raises(TypeError, match=r"at the path \('top', 0\)"):
        dm.assert_shallow_structure([[1]], [1], ("top",))


def test_containers_changed_by_the_function():
    tree = {"a": [1, 2, 3], "b": {"c": 4}}

    def change(x):
        tree["a"].clear()
        tree["b"][str(x)] = x
        tree[f"new {x}"] = 0
        return x

    for name in ("map_structure", "map_two", "traverse", "map_structure_with_path"):
        tree.update(a=[1, 2, 3], b={"c": 4})
        with contextlib.suppress(ValueError):
            FUNCTIONS[name](tree)
    assert dm.map_structure(change, {"a": [1, 2], "b": tree["b"]})["a"] == [1, 2]
    numbers = [1, 2, 3]
    assert dm.map_structure(lambda x: numbers.pop(), numbers) == [3, 2, 1]


def test_dicts_keep_the_order_of_their_keys():
    assert list(dm.map_structure(keep, {"b": 1, "a": 2})) == ["b", "a"]
    assert list(dm.unflatten_as(OrderedDict(b=1, a=2), ["x", ""])) == ["b", "a"]
    assert dm.map_structure(keep, defaultdict(list, a=1)).default_factory is list


def test_classes_are_not_kept_alive():
    alive = []
    for number in range(200):
        cls = type(f"Class{number}", (OwnSequence if number % 2 else object,), {})
        instance = cls([1]) if number % 2 else cls()
        assert dm.is_nested(instance) == bool(number % 2)
        assert len(dm.flatten([instance, 2])) == 2
        alive.append(weakref.ref(cls))
        del cls, instance
    gc.collect()
    assert [ref() for ref in alive] == [None] * 200


def test_a_new_class_at_an_old_address_is_looked_at_anew():
    for number in range(2000):
        nested = number % 3 == 0
        cls = type("Class", (tuple,), {}) if nested else type("Class", (int,), {})
        assert dm.is_nested(cls()) is nested
        del cls
        if number % 50 == 0:
            gc.collect()


def test_map_to_none():
    replaced = dm.traverse(lambda x: dm.MAP_TO_NONE if x == 1 else None, {"a": [1, 2]})
    assert replaced == {"a": [None, 2]}


def test_types_for_annotations():
    assert "StructureKV" in str(dm.Structure[int])
    with pytest.raises(AttributeError, match="nothing"):
        dm.nothing


def test_threads():
    tree = {f"k{i}": [i, Pair(i, OwnMapping({"b": i, "a": i}))] for i in range(50)}
    expected = dm.map_structure(lambda x: x + 1, dm.flatten(tree))
    results = []

    def run():
        for _ in range(20):
            mapped = dm.map_structure(lambda x, y: y + 1, tree, tree)
            results.append(dm.flatten(mapped) == expected)
            cls = type("Class", (OwnSequence,), {})
            results.append(dm.is_nested(cls([])))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8 * 20 * 2


LEAF = object()


def make():
    return {
        "b": [LEAF, (LEAF, None), Pair(LEAF, {})],
        "a": OrderedDict(z=LEAF, y=defaultdict(list, q=LEAF)),
        "c": OwnMapping({"k": OwnSequence([LEAF])}),
        "d": {2: LEAF, 1: LEAF},
    }


TREE = make()
OTHER = {**make(), "c": OwnMapping({"k": LEAF})}


def fail(*_):
    raise ValueError("no")


CALLS = {
    **{name: lambda f=function: f(TREE) for name, function in FUNCTIONS.items()},
    "too_few": lambda: dm.unflatten_as(TREE, [1, 2]),
    "too_many": lambda: dm.unflatten_as(TREE, [LEAF] * 50),
    "differ": lambda: dm.map_structure(keep, TREE, OTHER),
    "types_differ": lambda: dm.assert_same_structure(TREE, {**TREE, "b": ()}),
    "not_shallow": lambda: dm.flatten_up_to(TREE, OTHER),
    "key_missing": lambda: dm.map_structure_up_to(TREE, keep, {"b": [1]}),
    "leaf_for_node": lambda: dm.map_structure_up_to(TREE, keep, {**TREE, "c": LEAF}),
    "map_fails": lambda: dm.map_structure(fail, TREE),
    "map_with_path_fails": lambda: dm.map_structure_with_path(fail, TREE),
    "traverse_fails": lambda: dm.traverse(fail, TREE, top_down=False),
    "unsortable": lambda: dm.flatten([LEAF, {1: LEAF, "a": LEAF}]),
    "unsortable_mapping": lambda: dm.flatten([LEAF, OwnMapping({1: LEAF, "a": LEAF})]),
    "keyword": lambda: dm.map_structure(keep, TREE, wrong=LEAF),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_nothing_is_kept(call):
    def run(times):
        for _ in range(times):
            with contextlib.suppress(ValueError, TypeError):
                call()
        gc.collect()
        return sys.getallocatedblocks(), sys.getrefcount(LEAF), sys.getrefcount(None)

    run(50)
    blocks, leaf, none = run(50)
    more_blocks, more_leaf, more_none = run(1000)
    assert more_leaf == leaf
    assert more_blocks - blocks < 500  # a leak would be one for each of the 1000 calls
    assert abs(more_none - none) < 100


def test_verdicts_about_classes_are_few():
    for _ in range(2):
        blocks = sys.getallocatedblocks()
        for _ in range(4000):
            dm.is_nested(type("New", (OwnSequence,), {})([LEAF]))
        gc.collect()
    assert sys.getallocatedblocks() - blocks < 1100  # at most 1024 weak references stay
