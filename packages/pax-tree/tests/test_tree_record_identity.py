"""Static values of classes that say that their objects equal themselves only."""

import functools

import pytest

import pax_tree


class Rec(pax_tree.Record):
    def _classify(self, name, value):
        return None

    def __init__(self, value):
        self.value = value


class Open:
    def __init__(self):
        self.calls = 0


class ByIdentity(Open):
    __static_by_identity__ = True


class Slots:
    __slots__ = ("calls",)
    __static_by_identity__ = True


class Derived(ByIdentity):
    pass


class Not(Open):
    __static_by_identity__ = False


class Curried(functools.partial):
    pass


def changed(value):
    """Whether the structure of a record is another one after its static value has changed."""
    value.calls = 0
    record = Rec(value)
    before = pax_tree.tree_structure(record)
    value.calls = 1
    return pax_tree.tree_structure(record) != before


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Open(), True),
        (ByIdentity(), False),
        (Slots(), False),
        (Derived(), True),  # it may hold more than the class from which it is derived
        (Not(), True),
        (Curried(max), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_an_object_holds_is_part_of_a_structure_unless_its_class_says_otherwise(
    value, expected
):
    assert changed(value) is expected


@pytest.mark.parametrize("cls", [functools.partial, Curried, pax_tree.Partial])
def test_what_a_partial_holds_is_part_of_a_structure(cls):
    options = {"power": 1}
    record = Rec((cls(max, options),))
    before = pax_tree.tree_structure(record)
    assert pax_tree.tree_structure(record) == before
    options["power"] = 2
    assert pax_tree.tree_structure(record) != before


def test_two_objects_differ_and_copies_of_a_record_share_one():
    value = ByIdentity()
    one, other = Rec(value), Rec(ByIdentity())
    assert pax_tree.tree_structure(one) != pax_tree.tree_structure(other)
    assert pax_tree.tree_structure(one) == pax_tree.tree_structure(pax_tree.tree_map(abs, one))
