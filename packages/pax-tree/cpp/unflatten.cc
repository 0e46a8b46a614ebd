// PyTreeDef.unflatten.
#include "pax_tree/dict_build.h"
#include "pax_tree/parts.h"
#include "pax_tree/plain.h"
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

// The next `count` leaves, borrowed; they hold until code runs that could change the list.
PyObject** NextLeaves(Source* source, Py_ssize_t count) {
  if (PySequence_Fast_GET_SIZE(source->leaves) - source->next < count) {
    PyErr_SetString(PyExc_RuntimeError,
                    "The list of leaves changed while it was being unflattened.");
    return nullptr;
  }
  PyObject** leaves = PySequence_Fast_ITEMS(source->leaves) + source->next;
  source->next += count;
  return leaves;
}

PyObject* TakeLeaf(Source* source) {
  PyObject** leaf = NextLeaves(source, 1);
  return leaf == nullptr ? nullptr : Py_NewRef(*leaf);
}

PyObject* TupleOfLeaves(Source* source, Py_ssize_t count) {
  Ref tuple(PyTuple_New(count));
  PyObject** leaves = tuple ? NextLeaves(source, count) : nullptr;
  if (leaves == nullptr) return nullptr;
  for (Py_ssize_t i = 0; i < count; ++i) PyTuple_SET_ITEM(tuple.get(), i, Py_NewRef(leaves[i]));
  return tuple.release();
}

PyObject* ListOfLeaves(Source* source, Py_ssize_t count) {
  Ref list(PyList_New(count));
  PyObject** leaves = list ? NextLeaves(source, count) : nullptr;
  if (leaves == nullptr) return nullptr;
  for (Py_ssize_t i = 0; i < count; ++i) PyList_SET_ITEM(list.get(), i, Py_NewRef(leaves[i]));
  return list.release();
}

PyObject* BuildFromSlots(Source* source, const Node& node);

// Setting items with str keys runs no Python code either.
bool SetItems(PyObject* dict, const KeyOrder* order, PyObject** leaves) {
  for (Py_ssize_t i = 0; i < NumKeys(order); ++i) {
    PyObject* leaf = leaves[PositionOf(order, i)];
    if (PyDict_SetItem(dict, PyTuple_GET_ITEM(order->inserted, i), leaf) < 0) return false;
  }
  return true;
}

PyObject* DictOfLeaves(Source* source, const Node& node) {
  KeyOrder* order = AsOrder(node.data);
  if (!order->only_str) return BuildFromSlots(source, node);
  bool copies = IsWorthCopying(order);
  Ref dict(copies ? BlankDict(order) : PyDict_New());
  PyObject** leaves = dict ? NextLeaves(source, node.arity) : nullptr;
  if (leaves == nullptr) return nullptr;
  source->node += node.arity;
  if (!copies) return SetItems(dict.get(), order, leaves) ? dict.release() : nullptr;
  PlaceValues(dict.get(), order, [leaves](Py_ssize_t i) { return Py_NewRef(leaves[i]); });
  return dict.release();
}

PyObject* BuildNext(Source* source);

PyObject* BuildFromSlots(Source* source, const Node& node) {
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

// Builds a node all of whose children are leaves.
PyObject* BuildOfLeaves(Source* source, const Node& node) {
  if (!IsPlain(node.kind) || node.arity == 0) return BuildFromSlots(source, node);
  if (node.kind == Kind::kDict) return DictOfLeaves(source, node);
  source->node += node.arity;
  return node.kind == Kind::kTuple ? TupleOfLeaves(source, node.arity)
                                   : ListOfLeaves(source, node.arity);
}

PyObject* BuildNext(Source* source) {
  const Node& node = *source->node++;
  if (node.kind == Kind::kLeaf) return TakeLeaf(source);
  if (node.kind == Kind::kNone) return Py_NewRef(Py_None);
  if (node.num_leaves == node.arity && node.num_nodes == node.arity + 1) {
    return BuildOfLeaves(source, node);
  }
  DepthGuard guard(&source->depth);
  return guard ? BuildFromSlots(source, node) : nullptr;
}

bool CheckLeaves(PyObject* leaves, Py_ssize_t expected) {
  Py_ssize_t given = PySequence_Fast_GET_SIZE(leaves);
  if (given == expected) return true;
  PyErr_Format(PyExc_ValueError, "Too %s leaves: the structure has %zd, but %zd were given.",
               given < expected ? "few" : "many", expected, given);
  return false;
}

// The leaves as a list or tuple that no other thread changes.
PyObject* SequenceOf(PyObject* leaves) {
#ifdef Py_GIL_DISABLED
  return PySequence_Tuple(leaves);
#else
  return PySequence_Fast(leaves, "unflatten takes an iterable of leaves.");
#endif
}

}  // namespace

PyObject* TreeDefUnflatten(PyObject* self, PyObject* leaves) {
  Ref items(SequenceOf(leaves));
  if (!items || !CheckLeaves(items.get(), Nodes(self)->num_leaves)) return nullptr;
  Source source(Nodes(self), items.get());
  return BuildNext(&source);
}

}  // namespace pax_tree
