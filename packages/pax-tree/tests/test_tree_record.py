"""Record and RecordSpec: attributes, structure, copies, garbage."""

import copy
import dataclasses
import datetime
import decimal
import gc
import inspect
import itertools
import math
import pickle
import struct
import weakref
from typing import Generic, TypeVar

import numpy as np
import pytest

import pax_tree


class Layer(pax_tree.Record):
    """Floats and layers are children, of kind 1 and 2; the rest is static."""

    def __init__(self, weight=1.0, bias=2.0, mode="train"):
        self.weight = weight
        self.bias = bias
        self.mode = mode

    def _classify(self, name, value):
        return {float: 1, Layer: 2}.get(type(value))

    @property
    def doubled(self):
        return 2 * self.weight

    @doubled.setter
    def doubled(self, value):
        self.weight = value / 2


def test_children_and_statics():
    layer = Layer()
    children, spec = pax_tree.record_flatten(layer)
    assert children == (1.0, 2.0)
    assert spec is pax_tree.record_spec(layer)
    assert (spec.cls, spec.names, spec.kinds) == (Layer, ("weight", "bias"), (1, 1))
    assert spec.statics == {"mode": "train"}
    assert repr(spec) == "Layer(weight, bias, mode='train')"


def test_a_record_is_a_node():
    layer = Layer(Layer(), 5.0)
    pairs, structure = pax_tree.tree_flatten_with_path(layer)
    assert [pax_tree.keystr(path) for path, _ in pairs] == [
        ".weight.weight",
        ".weight.bias",
        ".bias",
    ]
    mapped = pax_tree.tree_map(lambda leaf: -leaf, layer)
    assert (mapped.weight.bias, mapped.bias, mapped.mode) == (-2.0, -5.0, "train")
    assert pax_tree.tree_structure(mapped) == structure
    assert type(mapped) is Layer


def test_equal_structures_are_one_object():
    assert pax_tree.record_spec(Layer()) is pax_tree.record_spec(Layer(3.0))
    assert pax_tree.record_spec(Layer()) is not pax_tree.record_spec(Layer(mode="eval"))
    layer = Layer()
    before = pax_tree.record_spec(layer)
    layer.mode = "eval"
    assert pax_tree.record_spec(layer) is not before
    layer.mode = "train"
    assert pax_tree.record_spec(layer) is before


class Meters(float):
    pass


@dataclasses.dataclass(frozen=True)
class Frozen:
    value: object
    note: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots:
    value: object


UTC = datetime.UTC
CET = datetime.timezone(datetime.timedelta(hours=1))
DIFFERENT = {
    "int_bool": (1, True),
    "int_float": (1, np.float64(1)),
    "zeros": ((0.0, 1), (-0.0, 1)),
    "nested": ([1, {"a": (1,)}], [1, {"a": (True,)}]),
    "list_tuple": ([1], (1,)),
    "list": ([1, 2], [1, 3]),
    "set": ({1}, frozenset({1})),
    "dict": ({"a": 1}, {"a": 2}),
    "arrays": (np.zeros(2), np.zeros(2)),
    "nan": ((math.nan,), struct.unpack("d", struct.pack("Q", 0x7FF8000000000001))),
    "complex": (complex(0.0, 0.0), complex(0.0, -0.0)),
    "subclass": (Meters(0.0), Meters(-0.0)),
    "numpy": (np.float64(0.0), np.float64(-0.0)),
    "numpy_nan": (np.float32(math.nan), -np.float32(math.nan)),
    "numpy_complex": (np.complex64(0.0), np.complex64(complex(0.0, -0.0))),
    "numpy_date": (np.datetime64("2020-01-01", "D"), np.datetime64("2020-01-01", "s")),
    "frozen_bool": (Frozen(1), Frozen(True)),
    "frozen_float": (Frozen(1), Frozen(1.0)),
    "frozen_zeros": (Frozen(Frozen(0.0)), Frozen(Frozen(-0.0))),
    "frozen_slots": (FrozenSlots((1,)), FrozenSlots((True,))),
    "decimal": (decimal.Decimal("1.0"), decimal.Decimal("1.00")),
    "decimal_zero": (decimal.Decimal(0), decimal.Decimal("-0")),
    "zone": (
        datetime.datetime(2020, 1, 1, 0, tzinfo=UTC),
        datetime.datetime(2020, 1, 1, 1, tzinfo=CET),
    ),
    "fold": (datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 1, fold=1)),
    "range": (range(0, 3, 2), range(0, 4, 2)),
    "slice": (slice(1), slice(True)),
}


@pytest.mark.parametrize(("a", "b"), DIFFERENT.values(), ids=DIFFERENT)
def test_statics_differ_by_value_and_type(a, b):
    assert pax_tree.record_spec(Layer(mode=a)) is not pax_tree.record_spec(Layer(mode=b))
    twin = a if isinstance(a, np.ndarray) else copy.deepcopy(a)
    assert pax_tree.record_spec(Layer(mode=a)) is pax_tree.record_spec(Layer(mode=twin))


def test_what_a_frozen_dataclass_does_not_compare_is_not_compared():
    specs = [pax_tree.record_spec(Layer(mode=Frozen(1, note))) for note in ("a", "b")]
    assert specs[0] is specs[1]


def test_no_more_is_taken_of_what_has_no_end():
    spec, endless = pax_tree.record_spec(Layer()), itertools.count()
    with pytest.raises(ValueError, match="needs 2 values"):
        pax_tree.record_unflatten(spec, endless)
    assert next(endless) == 3
    with pytest.raises(ValueError, match="with 2 children needs as many kinds"):
        spec.with_kinds(endless)
    assert pax_tree.record_unflatten(spec, iter([3.0, 4.0])).bias == 4.0


def test_the_order_of_statics_does_not_count():
    first, second = pax_tree.Record(), pax_tree.Record()
    first.a, first.b = 1, 2
    second.b, second.a = 2, 1
    assert pax_tree.record_spec(first) is pax_tree.record_spec(second)


def test_statics_keep_their_value():
    names = ["a", "b"]
    layer = pax_tree.tree_map(lambda leaf: leaf, Layer(mode=names))
    assert layer.mode == names
    before = pax_tree.tree_map(lambda leaf: leaf, layer)
    layer.mode.append("c")  # a list is each record's own, and a change of it is seen
    assert pax_tree.tree_map(lambda leaf: leaf, layer).mode == ["a", "b", "c"]
    assert before.mode == ["a", "b"] == names
    assert pax_tree.tree_structure(before) != pax_tree.tree_structure(layer)


def test_setting_a_child_keeps_the_structure():
    layer = Layer()
    children, spec = pax_tree.record_flatten(layer)
    layer.weight = "any object"
    assert layer.weight == "any object"
    assert pax_tree.record_spec(layer) is spec
    assert children == (1.0, 2.0)
    assert pax_tree.record_flatten(layer)[0] == ("any object", 2.0)


def test_many_writes_without_and_with_a_shared_tuple():
    layer = Layer()
    held = []
    for step in range(20):
        layer.weight = [step]
        held.append(pax_tree.record_flatten(layer)[0])
    assert [children[0] for children in held] == [[step] for step in range(20)]


def test_a_static_that_becomes_a_child_goes_to_the_end():
    layer = Layer()
    layer.mode = 3.0
    assert pax_tree.record_spec(layer).names == ("weight", "bias", "mode")
    assert pax_tree.tree_leaves(layer) == [1.0, 2.0, 3.0]
    assert pax_tree.record_spec(layer).statics == {}


def test_record_set():
    layer = Layer()
    pax_tree.record_set(layer, "bias", 9.0, 7)
    assert pax_tree.record_spec(layer).kinds == (1, 7)
    pax_tree.record_set(layer, "weight", 4.0, None)
    assert pax_tree.tree_leaves(layer) == [9.0]
    assert layer.weight == 4.0
    assert pax_tree.record_spec(layer).statics == {"mode": "train", "weight": 4.0}
    pax_tree.record_set(layer, "new", "x", 255)
    assert pax_tree.tree_leaves(layer) == [9.0, "x"]


@pytest.mark.parametrize(
    ("kind", "error"), [(256, ValueError), (-1, ValueError), ("1", TypeError)], ids=str
)
def test_record_set_with_a_bad_kind(kind, error):
    with pytest.raises(error):
        pax_tree.record_set(Layer(), "x", 1, kind)


def test_attributes_cannot_be_deleted():
    with pytest.raises(
        AttributeError, match=r"Layer\.weight cannot be deleted.*assign None instead"
    ):
        del Layer().weight


def test_missing_attributes():
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        Layer().missing


def test_properties_work():
    layer = Layer()
    layer.doubled = 10.0
    assert (layer.weight, layer.doubled) == (5.0, 10.0)


def test_attributes_after_unflatten():
    layer = pax_tree.record_unflatten(pax_tree.record_spec(Layer()), [3.0, 4.0])
    assert (layer.weight, layer.bias, layer.mode) == (3.0, 4.0, "train")
    assert dict(vars(layer)) == {"mode": "train", "weight": 3.0, "bias": 4.0}


def test_the_attributes_by_name_are_a_dict_that_is_only_read():
    layer = Layer()
    attributes = vars(layer)
    expected = dict(attributes)
    assert isinstance(attributes, dict)
    changes = [
        lambda: attributes.update(weight=1),
        lambda: attributes.__setitem__("weight", 1),
        lambda: attributes.__delitem__("weight"),
        lambda: attributes.__ior__({"weight": 1}),
        lambda: attributes.setdefault("new", 1),
        lambda: attributes.pop("weight"),
        attributes.popitem,
        attributes.clear,
    ]
    for change in changes:
        with pytest.raises(
            TypeError, match=r"__dict__ .* only read; set its attributes with setattr"
        ):
            change()
    assert attributes == expected == vars(layer)
    copies = [copy.copy, copy.deepcopy, dict.copy, lambda x: pickle.loads(pickle.dumps(x))]
    for copied in [make(attributes) for make in copies]:
        assert type(copied) is dict
        assert copied == expected


def test_inspect_reads_attributes_without_running_code():
    layer = Layer()
    assert inspect.getattr_static(layer, "weight") is layer.weight
    assert isinstance(inspect.getattr_static(layer, "doubled"), property)
    with pytest.raises(AttributeError):
        inspect.getattr_static(layer, "missing")


def test_a_write_before_the_first_read_is_seen():
    layer = pax_tree.record_unflatten(pax_tree.record_spec(Layer()), (3.0, 4.0))
    layer.weight = 5.0
    layer.mode = "eval"
    assert (layer.weight, layer.bias, layer.mode) == (5.0, 4.0, "eval")


def test_unflatten_needs_as_many_children():
    with pytest.raises(ValueError, match=r"'weight', 'bias'\) needs 2 values, but got 1"):
        pax_tree.record_unflatten(pax_tree.record_spec(Layer()), [1.0])


def test_specs_with_changes():
    layer = Layer()
    spec = pax_tree.record_spec(layer)
    layer.mode = "eval"
    assert spec.with_static("mode", "eval") is pax_tree.record_spec(layer)
    assert spec.with_static("mode", "train") is spec
    assert spec.with_static("weight", 0).names == ("bias",)
    other = spec.with_kinds([3, 4])
    assert other.kinds == (3, 4)
    assert pax_tree.record_spec(pax_tree.record_with_spec(layer, other)) is other
    with pytest.raises(ValueError, match="2 children needs as many kinds, but got 1"):
        spec.with_kinds([3])
    with pytest.raises(ValueError, match="needs 1 values, but got 2"):
        pax_tree.record_with_spec(layer, spec.with_static("weight", 0))


@pytest.mark.parametrize(
    "call", [pax_tree.record_flatten, pax_tree.record_spec], ids=lambda f: f.__name__
)
def test_functions_refuse_other_objects(call):
    with pytest.raises(TypeError, match="takes a Record, but got an object of type int"):
        call(3)
    with pytest.raises(TypeError, match="takes a RecordSpec"):
        pax_tree.record_unflatten(3, ())


@pytest.mark.parametrize("answer", ["1", 256, -1, 1.0], ids=repr)
def test_classify_must_return_a_kind(answer):
    class Wrong(pax_tree.Record):
        def _classify(self, name, value):
            return answer

    with pytest.raises(TypeError, match=r"Wrong\._classify\('x', ...\) must return None or an int"):
        Wrong().x = 1


def test_init_and_arguments():
    class Bare(pax_tree.Record):
        pass

    with pytest.raises(TypeError, match="takes no arguments"):
        Bare(1)
    with pytest.raises(TypeError, match="unexpected keyword"):
        Layer(wrong=1)


def test_init_subclass_is_cooperative():
    seen = []

    class Base(pax_tree.Record):
        def __init_subclass__(cls, tag=None, **kwargs):
            super().__init_subclass__(**kwargs)
            seen.append(tag)

    class Derived(Base, tag="t"):
        pass

    assert seen == ["t"]
    assert pax_tree.tree_leaves(Derived()) == []


@pytest.mark.parametrize(
    "clone",
    [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies(clone):
    layer = Layer(Layer(), 5.0, mode=["m", 1])
    copied = clone(layer)
    assert pax_tree.record_spec(copied) is pax_tree.record_spec(layer)
    assert pax_tree.tree_leaves(copied) == [1.0, 2.0, 5.0]
    copied.bias = 6.0
    assert layer.bias == 5.0
    assert (copied.weight is layer.weight) == (clone is copy.copy)


def test_deepcopy_of_a_cycle():
    layer = Layer()
    pax_tree.record_set(layer, "weight", layer, 2)
    copied = copy.deepcopy(layer)
    assert copied.weight is copied
    with pytest.raises(RecursionError):
        pax_tree.tree_leaves(layer)


def test_specs_pickle_to_the_same_object():
    spec = pax_tree.record_spec(Layer(mode={"a": [1]}))
    assert pickle.loads(pickle.dumps(spec)) is spec


@pytest.mark.parametrize("where", ["child", "static", "closure"])
def test_cycles_are_collected(where):
    class Node(Layer):
        def closure(self):
            return lambda: self

    node = Node()
    if where == "child":
        pax_tree.record_set(node, "weight", [node], 1)
    elif where == "static":
        node.mode = [node]
    else:
        node.mode = node.closure()
    reference, spec = weakref.ref(node), weakref.ref(pax_tree.record_spec(node))
    del node
    gc.collect()
    assert reference() is None
    assert spec() is None


def test_specs_die_with_their_records():
    layer = Layer(mode=object())
    spec = weakref.ref(pax_tree.record_spec(layer))
    layer.mode = "train"
    gc.collect()
    assert spec() is None


def test_records_of_different_structure_do_not_map():
    with pytest.raises(
        ValueError, match=r"mode='train'\), got the record Layer\(weight, bias, mode='eval'\)"
    ):
        pax_tree.tree_map(lambda a, b: a, Layer(), Layer(mode="eval"))


def test_a_counter_does_not_keep_its_past():
    layer = Layer()
    gc.collect()
    for step in range(1000):
        layer.mode = step
    gc.collect()
    specs = [o for o in gc.get_objects() if type(o) is pax_tree.RecordSpec and o.cls is Layer]
    assert len(specs) < 50


T = TypeVar("T")


class Box(pax_tree.Record, Generic[T]):
    def __init__(self, value):
        self.value = value

    def _classify(self, name, value):
        return 0 if isinstance(value, float) else None


def test_a_type_parameter_is_no_part_of_the_structure():
    plain, typed = Box(1.0), Box[float](2.0)
    assert pax_tree.tree_structure(plain) == pax_tree.tree_structure(typed)
    assert vars(plain).keys() == vars(typed).keys() == {"value"}
    assert not hasattr(typed, "__orig_class__")
    assert pax_tree.tree_map(lambda x, y: x + y, plain, typed).value == 3.0
    assert pickle.loads(pickle.dumps(typed)).value == 2.0
