"""One registry with JAX and PyTorch: in any order of imports, and when something fails."""

import importlib
import subprocess
import sys

import jax
import pytest
import torch.utils._pytree as pytree

import pax_tree
from pax_tree._interop import registry as _interop

CLASSES = """
import sys, warnings
warnings.simplefilter("error")
import pax_tree

class Node:
    def __init__(self, *children):
        self.children = children

def register(name):
    cls = type(name, (Node,), {})
    pax_tree.register_pytree_node(cls, lambda n: (n.children, name), lambda aux, c: cls(*c))
    return cls

class Rec(pax_tree.Record):
    def __init__(self, x):
        pax_tree.record_set(self, "x", x, 0)

First, Gone = register("First"), register("Gone")
pax_tree.unregister_pytree_node(Gone)
"""
CHECK = """
Second = register("Second")
tree = [First(1, Second(2)), Rec(3)]
"""
OF = {
    "jax": """
leaves = jax.tree_util.tree_leaves(tree)
assert leaves == [1, 2, 3], leaves
assert jax.tree_util.tree_map(lambda x: x, tree)[0].children[0] == 1
assert pax_tree.tree_leaves(jax.tree_util.Partial(max, 1)) == [1]
""",
    "torch": """
import torch.utils._pytree as pytree
leaves = pytree.tree_leaves(tree)
assert leaves == [1, 2, 3], leaves
assert pytree.tree_map(lambda x: x, tree)[0].children[0] == 1
assert pax_tree.tree_leaves(torch.Size([2])) == [2]
""",
}
END = """
from pax_tree._interop import registry
watching = sum(type(finder).__name__ == "_Watcher" for finder in sys.meta_path)
assert watching == 1 and registry._pending == {"torch._dynamo"}, registry._pending
"""
COMPILER = """
import torch._dynamo
assert not any(type(finder).__name__ == "_Watcher" for finder in sys.meta_path)
"""
GONE = """
gone = Gone(1)
assert jax.tree_util.tree_leaves(gone) == [gone] == torch.utils._pytree.tree_leaves(gone)
"""
ORDERS = {
    "registered_first": [CLASSES, "import jax, torch", GONE],
    "torch_then_jax": [CLASSES, "import torch", OF["torch"], "import jax"],
    "libraries_first": ["import jax, torch", CLASSES],
    "in_between": ["import torch", CLASSES, "import jax"],
    "reloaded": [CLASSES, "import importlib", "importlib.reload(pax_tree)", "import jax, torch"],
    "failed_import": [CLASSES, "FAIL", "import jax, torch"],
}
FAIL = """
sys.modules["jax._src"] = None  # makes the import of JAX fail
try:
    import jax
except ImportError:
    del sys.modules["jax._src"]
else:
    raise AssertionError
for name in [name for name in sys.modules if name.split(".")[0] == "jax"]:
    del sys.modules[name]
"""


def run(*parts):
    source = "\n".join(parts)
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("order", ORDERS)
def test_order_of_imports(order):
    parts = [FAIL if part == "FAIL" else part for part in ORDERS[order]]
    if "Second" not in "".join(parts):
        at = next(i for i, part in enumerate(parts) if part is CLASSES)
        parts.insert(at + 1, CHECK)
    run(*parts, *OF.values(), END, COMPILER if order == "registered_first" else "")


def test_a_failing_exchange_does_not_break_the_import():
    broken = """
import types
sys.modules["pax_tree._interop.jax"] = types.ModuleType("broken")
warnings.simplefilter("always")
import jax
assert jax.tree_util.tree_leaves([1]) == [1]
assert pax_tree.tree_leaves(First(1)) == [1]
"""
    stderr = run(CLASSES, broken)
    assert "RuntimeWarning: pax_tree does not share its registry with jax, because" in stderr


def test_a_class_that_a_library_refuses_does_not_break_its_import():
    refused = """
class Meta(type):
    refuse = False
    def __hash__(cls):
        if Meta.refuse:
            raise LookupError("refused")
        return 1
Odd = Meta("Odd", (Node,), {})
pax_tree.register_pytree_node(Odd, lambda n: (n.children, None), lambda aux, c: Odd(*c))
import pax_tree._interop.registry as interop
keep = interop._publish
def publish(name, cls):
    Meta.refuse = cls is Odd
    try:
        keep(name, cls)
    finally:
        Meta.refuse = False
interop._publish = publish
warnings.simplefilter("always")
import torch
import torch.utils._pytree as pytree
assert pytree.tree_leaves(First(1)) == [1]
assert pax_tree.tree_leaves(Odd(1)) == [1]
"""
    stderr = run(CLASSES, refused)
    assert "is not registered with torch, because LookupError('refused')" in stderr


def make(register=True):
    class Node:
        def __init__(self, *children):
            self.children = children

    if register:
        pax_tree.register_pytree_node(
            Node, lambda n: (n.children, "first"), lambda aux, c: Node(*c)
        )
    return Node


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_a_failed_registration_changes_nothing(name, monkeypatch):
    def refuse(*_):
        raise LookupError("refused")

    Node = make(register=False)
    with monkeypatch.context() as patch:
        patch.setitem(_interop._libraries, name, _interop._libraries[name]._replace(publish=refuse))
        with pytest.raises(LookupError, match="refused") as caught:
            pax_tree.register_static(Node)
    assert f"Node'> was registered with {name} too" in caught.value.__notes__[0]
    node = Node(1, 2)
    assert pax_tree.tree_leaves(node) == [node]
    pax_tree.register_pytree_node(Node, lambda n: (n.children, None), lambda aux, c: Node(*c))
    for leaves in (pax_tree.tree_leaves, jax.tree_util.tree_leaves, pytree.tree_leaves):
        assert leaves(node) == [1, 2]


def test_registering_again_reaches_the_libraries_that_cannot_forget():
    Node = make()
    node = Node(1, [2])
    before = pax_tree.tree_structure(node)
    pax_tree.unregister_pytree_node(Node)
    assert pax_tree.tree_leaves(node) == [node]
    assert jax.tree_util.tree_leaves(node) == pytree.tree_leaves(node) == [1, 2]
    assert before.unflatten([3, 4]).children == (3, [4])
    with pytest.raises(ValueError, match="class Node is not registered alike here and with JAX"):
        before.to_jax()
    with pytest.raises(ValueError, match=r"Node was not registered with pax_tree"):
        pax_tree.unregister_pytree_node(Node)

    pax_tree.register_pytree_with_keys(
        Node,
        lambda n: ([(pax_tree.GetAttrKey("last"), n.children[-1])], "second"),
        lambda aux, c: Node(aux, *c),
    )
    for leaves in (pax_tree.tree_leaves, jax.tree_util.tree_leaves, pytree.tree_leaves):
        assert leaves(node) == [2]
    after = pax_tree.tree_structure(node)
    assert after != before
    assert after.to_jax() == jax.tree_util.tree_structure(node)
    assert jax.tree_util.tree_map(str, node).children == ("second", ["2"])
    assert pytree.tree_map(str, node).children == ("second", ["2"])
    [(path, _)] = jax.tree_util.tree_leaves_with_path(node)
    assert jax.tree_util.keystr(path) == ".last[0]"
    assert before.unflatten([3, 4]).children == (3, [4])
    with pytest.raises(
        ValueError, match=r"expected the class .*Node \(as it was registered before\)"
    ):
        before.flatten_up_to(node)


def test_a_class_that_a_library_knew_before():
    Node = make(register=False)
    jax.tree_util.register_pytree_node(
        Node, lambda n: (n.children[:1], None), lambda a, c: Node(*c)
    )
    node = Node(1, 2)
    assert pax_tree.tree_leaves(node) == [1]
    with pytest.raises(ValueError, match="Node was not registered with pax_tree"):
        pax_tree.unregister_pytree_node(Node)
    pax_tree.register_pytree_node(Node, lambda n: (n.children, None), lambda a, c: Node(*c))
    assert pax_tree.tree_leaves(node) == [1, 2]
    assert jax.tree_util.tree_leaves(node) == [1]
    pax_tree.unregister_pytree_node(Node)
    assert pax_tree.tree_leaves(node) == [1]


def test_a_class_that_both_libraries_know_is_taken_from_jax():
    Node = make(register=False)
    pytree.register_pytree_node(Node, lambda n: (list(n.children), None), lambda c, a: Node(*c))
    jax.tree_util.register_pytree_node(
        Node, lambda n: (n.children[:1], None), lambda a, c: Node(*c)
    )
    assert pax_tree.tree_leaves(Node(1, 2)) == [1]


def test_loading_the_package_again_keeps_the_registry():
    Node = make()
    importlib.reload(pax_tree)
    assert pax_tree.tree_leaves(Node(1)) == [1]
    watchers = [finder for finder in sys.meta_path if isinstance(finder, _interop._Watcher)]
    assert len(watchers) == bool(_interop._pending)
