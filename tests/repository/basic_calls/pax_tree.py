"""Basic calls of pax_tree, beside PyTorch and JAX."""

import collections
import dataclasses

import jax
import torch

import pax_tree
from pax_tree._foreign import foreign
from pax_tree._forward_level import forward_level

# PyTorch's own trees are as private as the names that are hidden.
torch_pytree = foreign("torch.utils._pytree", "a tree of PyTorch")
Point = collections.namedtuple("Point", ["x", "y"])


@pax_tree.register_dataclass
@dataclasses.dataclass
class Pair:
    first: object
    second: object


def maps():
    assert pax_tree.tree_map(lambda x: 2 * x, {"a": [1, 2], "b": None}) == {"a": [2, 4], "b": None}


def flattens():
    leaves, treedef = pax_tree.tree_flatten(Point({"b": 1, "a": 2}, (3,)))
    assert leaves == [2, 1, 3]
    assert pax_tree.tree_unflatten(treedef, leaves) == Point({"a": 2, "b": 1}, (3,))


def finds_paths():
    paths = [pax_tree.keystr(path) for path, _ in pax_tree.tree_flatten_with_path(Pair([1], 2))[0]]
    assert paths == [".first[0]", ".second"]


def jax_knows_what_is_registered():
    assert jax.tree.leaves(Pair(1, {"a": 2})) == [1, 2]
    assert jax.jit(lambda pair: pair.first + pair.second)(Pair(1, 2)) == 3


def torch_knows_what_is_registered():
    assert torch_pytree.tree_leaves(Pair(1, {"a": 2})) == [1, 2]


def knows_what_jax_registered():
    @jax.tree_util.register_pytree_node_class
    class OfJax:
        def __init__(self, value):
            self.value = value

        def tree_flatten(self):
            return (self.value,), None

        @classmethod
        def tree_unflatten(cls, aux, children):
            return cls(*children)

    assert pax_tree.tree_leaves([OfJax(4), 5]) == [4, 5]


def knows_what_torch_registered():
    class OfTorch:
        def __init__(self, value):
            self.value = value

    torch_pytree.register_pytree_node(
        OfTorch, lambda x: ([x.value], None), lambda values, _: OfTorch(*values)
    )
    assert pax_tree.tree_leaves([OfTorch(4), 5]) == [4, 5]


def converts_structures_of_jax():
    treedef = pax_tree.tree_structure({"a": [1, None]})
    assert treedef.to_jax() == jax.tree.structure({"a": [1, None]})
    assert pax_tree.PyTreeDef.from_jax(jax.tree.structure({"a": [1, None]})) == treedef


def converts_structures_of_torch():
    tree = {"a": [1, (2,)]}
    treedef = pax_tree.tree_structure(tree)
    assert torch_pytree.tree_unflatten([1, 2], treedef.to_torch()) == tree
    assert pax_tree.PyTreeDef.from_torch(torch_pytree.tree_structure(tree)) == treedef


def ravels():
    flat, unravel = pax_tree.tree_ravel({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(3.0)})
    assert flat.tolist() == [1.0, 2.0, 3.0]
    assert unravel(flat)["b"] == 3.0


def adds_and_sums():
    tree = {"a": torch.tensor([1.0, 2.0]), "b": 3.0}
    assert pax_tree.tree_add(tree, tree)["a"].tolist() == [2.0, 4.0]
    assert pax_tree.tree_sum(tree) == 6.0


def opens_forward_mode():
    with forward_level():
        value, slope = torch.func.jvp(torch.sin, (torch.zeros(2),), (torch.ones(2),))
    assert (value.tolist(), slope.tolist()) == ([0.0, 0.0], [1.0, 1.0])
