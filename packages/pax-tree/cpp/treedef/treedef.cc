// The Python type PyTreeDef.
#include "treedef/treedef.h"

#include <structmember.h>

#include <algorithm>
#include <cstddef>
#include <limits>

#include "core/parts.h"
#include "dict/key_order.h"
#include "support/arguments.h"
#include "support/errors.h"
#include "tree/functions.h"

namespace pax_tree {
namespace {

// The conversions are Python functions.
PyObject* CallPython(const char* module_name, const char* function, PyObject* argument) {
  Ref module(PyImport_ImportModule(module_name));
  return module ? PyObject_CallMethod(module.get(), function, "(O)", argument) : nullptr;
}
PyObject* ToJax(PyObject* self, PyObject*) {
  return CallPython("pax_tree._interop.jax", "to_jax", self);
}
PyObject* FromJax(PyObject*, PyObject* treedef) {
  return CallPython("pax_tree._interop.jax", "from_jax", treedef);
}
PyObject* ToTorch(PyObject* self, PyObject*) {
  return CallPython("pax_tree._interop.torch", "to_torch", self);
}
PyObject* FromTorch(PyObject*, PyObject* spec) {
  return CallPython("pax_tree._interop.torch", "from_torch", spec);
}

void ReleaseNode(const Node& node) {
  Py_XDECREF(node.data);
  Py_XDECREF(node.Held());
}

int Traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  for (Py_ssize_t i = 0; i < Py_SIZE(self); ++i) {
    Py_VISIT(Nodes(self)[i].data);
    Py_VISIT(Nodes(self)[i].Held());
  }
  return 0;
}

// No tp_clear: a treedef cannot be changed, so some other object of a cycle is what breaks it, as
// for tuples.
void Dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  if (AsTreeDef(self)->weakrefs != nullptr) PyObject_ClearWeakRefs(self);
  Py_TRASHCAN_BEGIN(self, Dealloc) for (Py_ssize_t i = 0; i < Py_SIZE(self); ++i)
      ReleaseNode(Nodes(self)[i]);
  type->tp_free(self);
  Py_DECREF(type);
  Py_TRASHCAN_END
}

PyObject* NumLeaves(PyObject* self, void*) {
  return PyLong_FromUnsignedLong(Nodes(self)->num_leaves);
}
PyObject* NumNodes(PyObject* self, void*) { return PyLong_FromSsize_t(Py_SIZE(self)); }

constexpr char kPathsDoc[] =
    R"(paths()
--

The key path of every leaf, a list of tuples in the order of the leaves.

A node of a registered class with named children is made with placeholders as children and asked
for their names, so errors of the class's functions propagate.

Example:
    >>> import pax_tree
    >>> structure = pax_tree.tree_structure({"a": [5, 6], "b": None})
    >>> [pax_tree.keystr(path) for path in structure.paths()]
    ["['a'][0]", "['a'][1]"]
)";

constexpr char kWalkDoc[] =
    R"(walk(f_node, f_leaf, leaves)
--

Puts a tree together by functions, from the leaves to the root, as of JAX's `PyTreeDef`.

Args:
    f_node: called as `f_node(children, data)` for every node, with the tuple of what the functions
        made of its children and with its static data.
    f_leaf: called with every leaf; None leaves them as they are.
    leaves: an iterable of as many leaves as the structure has.

Returns:
    What `f_node` returned for the root.

Raises:
    ValueError: there are more or fewer leaves.

Example:
    >>> import pax_tree
    >>> structure = pax_tree.tree_structure({"a": [1, 2], "b": 3})
    >>> structure.walk(lambda children, data: (data, sum(c if type(c) is int else c[1] for c in children)),
    ...                None, [10, 20, 30])
    (['a', 'b'], 60)
)";

constexpr char kFromPartsDoc[] =
    R"(from_node_data_and_children(node_data, children)
--

The structure of which `node_data()` and `children()` are these, as of JAX's `PyTreeDef`.

Args:
    node_data: a pair of a class and static data, or None for a leaf; the static data of a dict are
        its keys in the order of the children.
    children: an iterable of PyTreeDefs.

Raises:
    TypeError: an argument has another type.
    ValueError: the class is no node, or does not go with the static data or the children.

Example:
    >>> import pax_tree
    >>> leaf = pax_tree.tree_structure(0)
    >>> pax_tree.PyTreeDef.from_node_data_and_children((dict, ["a", "b"]), [leaf, leaf])
    PyTreeDef({'a': *, 'b': *})
)";

constexpr char kToJaxDoc[] =
    R"(to_jax()
--

The same structure as a `jax.tree_util.PyTreeDef`, with the leaves in the same order. Imports JAX.

Raises:
    ValueError: there is a node that is a leaf for JAX, or that JAX takes apart in another way.
)";

constexpr char kFromJaxDoc[] =
    R"(from_jax(treedef)
--

The same structure as a `jax.tree_util.PyTreeDef`, which remembers no order of insertion of dicts.

Raises:
    TypeError: the argument is not such a structure.
    ValueError: there is a node of a class that is registered differently here.
)";

constexpr char kToTorchDoc[] =
    R"(to_torch()
--

The same structure as a `torch.utils._pytree.TreeSpec`, with the leaves in the same order: the keys
of its dicts are in the order of the leaves. Imports PyTorch.

Raises:
    ValueError: there is a node that PyTorch takes apart in another way, or None, which is a leaf
        there; flatten with `none_is_leaf=True` to make it one here.
)";

constexpr char kFromTorchDoc[] =
    R"(from_torch(spec)
--

The same structure as a `torch.utils._pytree.TreeSpec`, with the leaves in the same order.

PyTorch orders the leaves of a dict by insertion. So the result is equal to the structure that
`tree_structure` gives only where keys were inserted in sorted order, and None is a leaf in it.

Raises:
    TypeError: the argument is not such a structure.
    ValueError: there is a node of a class that is registered differently here.
)";

PyMethodDef methods[] = {
    {"unflatten", TreeDefUnflatten, METH_O,
     "unflatten(leaves)\n--\n\nThe tree of this structure with these leaves, an iterable."},
    {"flatten_up_to", TreeDefFlattenUpTo, METH_O,
     "flatten_up_to(tree)\n--\n\nThe subtrees of `tree` that stand where this structure has "
     "leaves."},
    {"compose", TreeDefCompose, METH_O,
     "compose(inner)\n--\n\nThis structure with the structure `inner` in place of every leaf."},
    {"children", TreeDefChildren, METH_NOARGS,
     "children()\n--\n\nA list with the structure of each child of the root."},
    {"node_data", TreeDefNodeData, METH_NOARGS,
     "node_data()\n--\n\nThe pair (class, static data) of the root, or None for a leaf."},
    {"paths", TreeDefPaths, METH_NOARGS, kPathsDoc},
    {"walk", AsMethod(TreeDefWalk), METH_FASTCALL, kWalkDoc},
    {"from_node_data_and_children", AsMethod(TreeDefFromParts), METH_FASTCALL | METH_STATIC,
     kFromPartsDoc},
    {"to_jax", ToJax, METH_NOARGS, kToJaxDoc},
    {"from_jax", FromJax, METH_O | METH_STATIC, kFromJaxDoc},
    {"to_torch", ToTorch, METH_NOARGS, kToTorchDoc},
    {"from_torch", FromTorch, METH_O | METH_STATIC, kFromTorchDoc},
    {"__reduce__", TreeDefReduce, METH_NOARGS, "Pickle support."},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TreeDef, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyGetSetDef getset[] = {
    {"num_leaves", NumLeaves, nullptr, "How many leaves a tree of this structure has.", nullptr},
    {"num_nodes", NumNodes, nullptr, "How many nodes, leaves included.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

constexpr char kDoc[] =
    R"(The structure of a tree: everything but its leaves. Immutable, compared by value.

Example:
    >>> import pax_tree
    >>> structure = pax_tree.tree_structure({"a": [1, 2], "b": None})
    >>> structure
    PyTreeDef({'a': [*, *], 'b': None})
    >>> structure.num_leaves, structure.num_nodes
    (2, 5)
    >>> structure.unflatten([3, 4])
    {'a': [3, 4], 'b': None}
)";

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>(kDoc)},
    {Py_tp_traverse, reinterpret_cast<void*>(Traverse)},
    {Py_tp_dealloc, reinterpret_cast<void*>(Dealloc)},
    {Py_tp_repr, reinterpret_cast<void*>(TreeDefRepr)},
    {Py_tp_hash, reinterpret_cast<void*>(TreeDefHash)},
    {Py_tp_richcompare, reinterpret_cast<void*>(TreeDefCompare)},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, getset},
    {0, nullptr},
};

PyType_Spec spec = {"pax_tree.PyTreeDef", offsetof(TreeDef, nodes), sizeof(Node),
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                    slots};

}  // namespace

PyTypeObject* treedef_type = nullptr;

void NodeList::Release() {
  for (Node& node : nodes_) ReleaseNode(node);
  nodes_.Resize(0);
}

bool NodeList::AddCopies(const Node* first, size_t count) {
  Node* node = nodes_.Reserve(count);
  if (node == nullptr) return false;
  for (size_t i = 0; i < count; ++i) {
    node[i] = first[i];
    Py_XINCREF(first[i].data);
    Py_XINCREF(first[i].Held());
  }
  nodes_.Resize(nodes_.size() + count);
  return true;
}

PyObject* NodeList::Finish() {
  if (nodes_.size() > std::numeric_limits<uint32_t>::max()) {
    return Raise(PyExc_OverflowError, "A tree may have at most 4294967295 nodes.");
  }
  auto count = static_cast<Py_ssize_t>(nodes_.size());
  TreeDef* self = PyObject_GC_NewVar(TreeDef, treedef_type, count);
  if (self == nullptr) return nullptr;
  self->weakrefs = nullptr;
  std::copy(nodes_.begin(), nodes_.end(), self->nodes);
  nodes_.Resize(0);  // the treedef owns the data now
  PyObject_GC_Track(self);
  return reinterpret_cast<PyObject*>(self);
}

PyObject* TreeDefOfNodes(const Node* first, size_t count) {
  NodeList nodes;
  return nodes.AddCopies(first, count) ? nodes.Finish() : nullptr;
}

bool InitTreeDef(PyObject* module) {
  treedef_type = AddType(module, &spec);
  return treedef_type != nullptr;
}

}  // namespace pax_tree
