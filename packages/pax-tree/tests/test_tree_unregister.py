"""Nothing keeps a class alive that is registered no more, as long as JAX and PyTorch are not imported.

They never forget a class, so every test runs in a process of its own.
"""

import subprocess
import sys

import pytest

PRELUDE = """
import gc, weakref
import pax_tree

class Node:
    def __init__(self, *children):
        self.children = children

    def tree_flatten(self):
        return self.children, None

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children)

gone = weakref.ref(Node)
"""

REGISTER = {
    "functions": """pax_tree.register_pytree_node(
        Node, lambda node: (node.children, Node), lambda aux, children: Node(*children)
    )""",
    "methods": "pax_tree.register_pytree_node_class(Node)",
    "static": "pax_tree.register_static(Node)",
}

FORGET = """
pax_tree.unregister_pytree_node(Node)
del Node
gc.collect()
"""


def run(program):
    subprocess.run([sys.executable, "-c", PRELUDE + program], check=True)


@pytest.mark.parametrize("register", REGISTER)
def test_the_class_is_freed(register):
    used = f"""
for _ in range(2):
    {REGISTER[register]}
    pax_tree.tree_leaves([Node(1)])
    pax_tree.tree_map_with_path(lambda path, leaf: leaf, [Node(1)])
    pax_tree.unregister_pytree_node(Node)
{REGISTER[register]}
"""
    run(used + FORGET + "assert gone() is None")


def test_a_structure_keeps_its_class_and_functions():
    run(
        f"""
{REGISTER["methods"]}
structure = pax_tree.tree_structure([Node(1, 2), Node(3)])
parts = [structure.compose(pax_tree.tree_structure([0])), *structure.children()]
{FORGET}
assert [node.children for node in structure.unflatten([4, 5, 6])] == [(4, 5), (6,)]
del structure
gc.collect()
assert parts[0].unflatten([4, 5, 6])[0].children == ([4], [5])
assert parts[1].unflatten([7, 8]).children == (7, 8)
del parts
gc.collect()
assert gone() is None
"""
    )


def test_a_structure_that_its_class_holds_is_freed_with_it():
    run(
        f"{REGISTER['methods']}\nNode.own = pax_tree.tree_structure(Node(1))\n{FORGET}assert not gone()"
    )
