"""pax_tree and torch.utils._pytree share their registries."""

import dataclasses
from collections import namedtuple

import torch
import torch.utils._pytree as pytree

import pax_tree

Pair = namedtuple("Pair", "a b")


class Rec(pax_tree.Record):
    def __init__(self, x, mode="static"):
        self.x, self.mode = x, mode

    def _classify(self, name, value):
        return None if isinstance(value, str) else 0


@pax_tree.register_dataclass
@dataclasses.dataclass
class Data:
    x: object
    y: object


class Foreign:
    def __init__(self, x):
        self.x = x


pytree.register_pytree_node(
    Foreign,
    lambda f: ([f.x], None),
    lambda children, _: Foreign(*children),
    flatten_with_keys_fn=lambda f: ([(pytree.GetAttrKey("x"), f.x)], None),
)


def test_the_same_leaves():
    tree = [Rec({"a": 1}), Data(2, (3,)), Foreign([4, Pair(5, 6)])]
    assert pax_tree.tree_leaves(tree) == pytree.tree_leaves(tree) == [1, 2, 3, 4, 5, 6]


def test_map_on_either_side():
    tree = [Rec(1), Data(2, 3), Foreign(4)]
    for mapped in (pytree.tree_map(lambda x: -x, tree), pax_tree.tree_map(lambda x: -x, tree)):
        assert pax_tree.tree_leaves(mapped) == [-1, -2, -3, -4]
        assert [type(node) for node in mapped] == [Rec, Data, Foreign]
    assert mapped[0].mode == "static"


def test_paths():
    tree = [Rec(1), Data(2, 3), Foreign([4])]
    ours = [pax_tree.keystr(path) for path, _ in pax_tree.tree_leaves_with_path(tree)]
    theirs = [pytree.keystr(path) for path, _ in pytree.tree_flatten_with_path(tree)[0]]
    assert ours == theirs == ["[0].x", "[1].x", "[1].y", "[2].x[0]"]


def test_tensors_and_parameters_are_leaves():
    tree = {"a": torch.ones(2), "b": torch.nn.Parameter(torch.ones(2))}
    assert len(pax_tree.tree_leaves(tree)) == 2
    doubled = pax_tree.tree_map(lambda x: (2 * x).detach(), tree)
    assert torch.equal(doubled["b"], 2 * torch.ones(2))


def test_classes_that_torch_registers_itself_are_nodes():
    values = torch.max(torch.eye(2), dim=0)
    assert len(pax_tree.tree_leaves(values)) == 2
    assert type(pax_tree.tree_map(lambda x: x, values)) is type(values)
