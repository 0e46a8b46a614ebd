"""Who may write to a record."""

import copy
import gc

import pytest

import pax_tree


class Token:
    pass


class Cell(pax_tree.Record):
    def __init__(self):
        self.value = 1.0

    def _classify(self, name, value):
        return 0


@pytest.fixture
def scope():
    """A function that sets the present scope."""
    current = [None]
    previous = pax_tree.set_scope_hook(lambda: current[0])

    def enter(token):
        current[0] = token

    yield enter
    pax_tree.set_scope_hook(*previous)


def refused(cell):
    """Whether a write is refused, with the right message."""
    try:
        cell.value = 2.0
    except RuntimeError as error:
        return "Cell.value was made in another scope" in str(error)
    return False


def test_top_level_is_free(scope):
    assert not refused(Cell())


def test_an_object_may_stand_for_the_top_level():
    before, top, inside = Cell(), Token(), Token()
    current = [top]
    previous = pax_tree.set_scope_hook(lambda: current[0], top)
    try:
        at_top = Cell()
        assert not refused(before)
        assert not refused(at_top)
        current[0] = inside
        assert refused(before)
        assert refused(at_top)
        assert not refused(Cell())
    finally:
        hook, same_top = pax_tree.set_scope_hook(*previous)
    assert hook() is inside
    assert same_top is top


def test_made_outside_and_written_inside(scope):
    cell, token = Cell(), Token()
    scope(token)
    assert refused(cell)
    with pytest.raises(RuntimeError):
        pax_tree.record_set(cell, "other", 1, 0)
    assert cell.value == 1.0


@pytest.mark.parametrize(
    "remake",
    [copy.copy, copy.deepcopy, lambda c: pax_tree.tree_map(lambda x: x, c), lambda c: Cell()],
    ids=["copy", "deepcopy", "map", "new"],
)
def test_made_inside_is_free_inside_only(scope, remake):
    cell, token, other = Cell(), Token(), Token()
    scope(token)
    inside = remake(cell)
    assert not refused(inside)
    for place in (other, None):
        scope(place)
        assert refused(inside)


def test_a_scope_that_is_gone_matches_no_other(scope):
    token = Token()
    scope(token)
    cell = Cell()
    scope(Token())
    del token
    gc.collect()
    assert refused(cell)


def test_a_class_may_raise_its_own_error(scope):
    class Strict(Cell):
        def _scope_error(self, name):
            return KeyError(f"{name} is closed")

    class Wrong(Cell):
        def _scope_error(self, name):
            return "no exception"

    strict, wrong = Strict(), Wrong()
    token = Token()
    scope(token)
    with pytest.raises(KeyError, match="value is closed"):
        strict.value = 2.0
    with pytest.raises(TypeError, match="must return an exception, but returned 'no exception'"):
        wrong.value = 2.0


def test_errors_of_the_hook_propagate():
    def hook():
        raise LookupError("no scope")

    previous = pax_tree.set_scope_hook(hook)
    try:
        with pytest.raises(LookupError, match="no scope"):
            Cell()
    finally:
        pax_tree.set_scope_hook(*previous)


def test_the_hook_must_be_callable():
    with pytest.raises(TypeError, match="takes a function or None, but got 3"):
        pax_tree.set_scope_hook(3)
