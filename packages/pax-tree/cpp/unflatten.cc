// PyTreeDef.unflatten.
#include "pax_tree/parts.h"
#include "pax_tree/treedef.h"

namespace pax_tree {
namespace {

struct Source {
  Source(const Node* first, PyObject* items) : node(first), leaves(items) {}

  const Node* node;  // the next one to build
  PyObject* leaves;  // a tuple or list
  Py_ssize_t next = 0;
  int depth = 0;
};

PyObject* TakeLeaf(Source* source) {
  if (source->next >= PySequence_Fast_GET_SIZE(source->leaves)) {
    PyErr_SetString(PyExc_RuntimeError,
                    "The list of leaves changed while it was being unflattened.");
    return nullptr;
  }
  return Py_NewRef(PySequence_Fast_GET_ITEM(source->leaves, source->next++));
}

PyObject* BuildNext(Source* source) {
  const Node& node = *source->node++;
  if (node.kind == Kind::kLeaf) return TakeLeaf(source);
  if (node.kind == Kind::kNone) return Py_NewRef(Py_None);
  DepthGuard guard(&source->depth);
  if (!guard) return nullptr;
  Slots children;
  Py_ssize_t arity = node.arity;
  if (!children.Allocate(arity)) return nullptr;
  for (Py_ssize_t i = 0; i < arity; ++i) {
    bool leaf = source->node->kind == Kind::kLeaf;
    children[i] = leaf ? (++source->node, TakeLeaf(source)) : BuildNext(source);
    if (children[i] == nullptr) return nullptr;
  }
  return Build(node.kind, node.registration, node.data, children.data(), arity);
}

bool CheckLeaves(PyObject* leaves, Py_ssize_t expected) {
  Py_ssize_t given = PySequence_Fast_GET_SIZE(leaves);
  if (given == expected) return true;
  PyErr_Format(PyExc_ValueError, "Too %s leaves: the structure has %zd, but %zd were given.",
               given < expected ? "few" : "many", expected, given);
  return false;
}

}  // namespace

PyObject* TreeDefUnflatten(PyObject* self, PyObject* leaves) {
  Ref items(PySequence_Fast(leaves, "unflatten takes an iterable of leaves."));
  if (!items || !CheckLeaves(items.get(), Nodes(self)->num_leaves)) return nullptr;
  Source source(Nodes(self), items.get());
  return BuildNext(&source);
}

}  // namespace pax_tree
