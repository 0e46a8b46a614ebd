// Treedefs out of treedefs: children, composition; and the data of the root.
#include "dict/key_order.h"
#include "core/parts.h"
#include "record/spec.h"
#include "treedef/treedef.h"

namespace pax_tree {

PyObject* TreeDefChildren(PyObject* self, PyObject*) {
  const Node* root = Nodes(self);
  Ref list(PyList_New(root->arity));
  const Node* child = root + 1;
  for (uint32_t i = 0; list && i < root->arity; ++i, child += child->num_nodes) {
    PyObject* treedef = TreeDefOfNodes(child, child->num_nodes);
    if (treedef == nullptr) return nullptr;
    PyList_SET_ITEM(list.get(), i, treedef);
  }
  return list.release();
}

namespace {

PyTypeObject* ClassOf(const Node* node) {
  if (node->kind == Kind::kNone) return Py_TYPE(Py_None);
  if (node->kind == Kind::kNamedTuple) return reinterpret_cast<PyTypeObject*>(node->data);
  if (node->kind == Kind::kRecord) return AsSpec(node->data)->cls;
  return node->registration->type;
}

// The static data in the form in which JAX shows it.
PyObject* StaticData(const Node* node) {
  switch (node->kind) {
    case Kind::kDict:
      return PySequence_List(AsOrder(node->data)->sorted);
    case Kind::kOrderedDict:
      return Py_NewRef(AsOrder(node->data)->sorted);
    case Kind::kDefaultDict:
      return PyTuple_Pack(2, PyTuple_GET_ITEM(node->data, 0),
                          AsOrder(PyTuple_GET_ITEM(node->data, 1))->sorted);
    case Kind::kDeque:
    case Kind::kRecord:
    case Kind::kCustom:
      return Py_NewRef(node->data);
    default:
      return Py_NewRef(Py_None);
  }
}

}  // namespace

PyObject* TreeDefNodeData(PyObject* self, PyObject*) {
  const Node* root = Nodes(self);
  if (root->kind == Kind::kLeaf) Py_RETURN_NONE;
  Ref data(StaticData(root));
  return data ? PyTuple_Pack(2, ClassOf(root), data.get()) : nullptr;
}

PyObject* TreeDefCompose(PyObject* self, PyObject* inner) {
  if (!Py_IS_TYPE(inner, treedef_type)) {
    return PyErr_Format(PyExc_TypeError, "compose takes a PyTreeDef, but got an object of type %s.",
                        Py_TYPE(inner)->tp_name);
  }
  const Node* node = Nodes(self);
  size_t inner_size = Py_SIZE(inner), inner_leaves = Nodes(inner)->num_leaves;
  NodeList nodes;
  for (Py_ssize_t i = 0; i < Py_SIZE(self); ++i, ++node) {
    if (node->kind == Kind::kLeaf) {
      if (!nodes.AddCopies(Nodes(inner), inner_size)) return nullptr;
      continue;
    }
    size_t at = nodes.size();
    if (!nodes.AddCopies(node, 1)) return nullptr;
    size_t leaves = node->num_leaves;
    nodes[at].num_nodes = static_cast<uint32_t>(node->num_nodes + leaves * (inner_size - 1));
    nodes[at].num_leaves = static_cast<uint32_t>(leaves * inner_leaves);
  }
  return nodes.Finish();
}

}  // namespace pax_tree
