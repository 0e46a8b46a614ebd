// PyTreeDef.unflatten and tree_unflatten.
#include "core/parts.h"
#include "dict/build.h"
#include "support/arguments.h"
#include "support/compat.h"
#include "support/errors.h"
#include "support/sequence.h"
#include "tree/functions.h"
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

struct Source {
  Source(const Node* first, PyObject* items) : node(first), leaves(items) {}

  const Node* node;  // the next one to build
  PyObject* leaves;  // a tuple or list
  Py_ssize_t next = 0;
  Depth depth;
};

// The next `count` leaves, borrowed; they hold until code runs that could change the list.
PyObject** NextLeaves(Source* source, Py_ssize_t count) {
  if (PySequence_Fast_GET_SIZE(source->leaves) - source->next < count) {
    return Raise(PyExc_RuntimeError, "The list of leaves changed while it was being unflattened.");
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

PyObject* BuildChild(Source* source) {
  bool leaf = source->node->kind == Kind::kLeaf;
  return leaf ? (++source->node, TakeLeaf(source)) : BuildNext(source);
}

PyObject* BuildFromSlots(Source* source, const Node& node) {
  Slots children;
  Py_ssize_t arity = node.arity;
  if (!children.Allocate(arity)) return nullptr;
  for (Py_ssize_t i = 0; i < arity; ++i) {
    children[i] = BuildChild(source);
    if (children[i] == nullptr) return nullptr;
  }
  return Build(node.Type(), children.data());
}

PyObject* BuildMixed(Source* source, const Node& node) {
  DepthGuard guard(&source->depth);
  return guard ? BuildFromSlots(source, node) : nullptr;
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
  return BuildMixed(source, node);
}

// `leaves` may be the beginning of what was given.
bool CheckLeaves(PyObject* leaves, Py_ssize_t expected, bool all) {
  Py_ssize_t given = PySequence_Fast_GET_SIZE(leaves);
  if (given == expected) return true;
  return Raise(PyExc_ValueError, "Too %s leaves: the structure has %zd, but %s%zd were given.",
               given < expected ? "few" : "many", expected,
               all || given < expected ? "" : "at least ", given);
}

// The leaves as a list or tuple that no other thread changes.
PyObject* SequenceOf(PyObject* leaves, Py_ssize_t expected) {
  if (PyTuple_CheckExact(leaves)) return Py_NewRef(leaves);
  if (PyList_CheckExact(leaves)) return kFreeThreaded ? PyList_AsTuple(leaves) : Py_NewRef(leaves);
  if (Py_TYPE(leaves)->tp_iter != nullptr || PySequence_Check(leaves)) {
    return FirstItems(leaves, expected + 1);
  }
  return Raise(PyExc_TypeError, "unflatten takes an iterable of leaves, but got a %s.",
               Py_TYPE(leaves)->tp_name);
}

PyObject* TreeUnflatten(const Call& call) {
  PyObject *treedef = nullptr, *leaves = nullptr;
  if (!Read(call, {{"treedef", &treedef}, {"leaves", &leaves}}, 2, 2)) return nullptr;
  if (Py_IS_TYPE(treedef, treedef_type)) return TreeDefUnflatten(treedef, leaves);
  // The structure of a function that torch.compile has run up to here.
  Ref own(PyObject_CallMethod(treedef, "__pytreedef__", nullptr));
  if (own && Py_IS_TYPE(own.get(), treedef_type)) return TreeDefUnflatten(own.get(), leaves);
  PyErr_Clear();
  return Raise(PyExc_TypeError,
               "tree_unflatten takes a PyTreeDef first, but got an object of type %s.",
               Py_TYPE(treedef)->tp_name);
}

constexpr char kUnflattenDoc[] =
    R"(tree_unflatten(treedef, leaves)
--

Builds the tree of a structure with these leaves, as `jax.tree_util.tree_unflatten`.

Args:
    treedef: the structure.
    leaves: an iterable of `treedef.num_leaves` objects, in the order of `tree_leaves`.

Returns:
    The tree; dicts have the key order of the tree that the structure was taken from.

Raises:
    TypeError: the first argument is no PyTreeDef.
    ValueError: the number of leaves is not that of the structure.

Example:
    >>> import pax_tree
    >>> leaves, structure = pax_tree.tree_flatten({"b": 1, "a": [2, None]})
    >>> pax_tree.tree_unflatten(structure, [20, 10])
    {'b': 10, 'a': [20, None]}
)";

}  // namespace

PyObject* TreeDefUnflatten(PyObject* self, PyObject* leaves) {
  Py_ssize_t expected = Nodes(self)->num_leaves;
  Ref items(SequenceOf(leaves, expected));
  bool all = PyList_CheckExact(leaves) || PyTuple_CheckExact(leaves);
  if (!items || !CheckLeaves(items.get(), expected, all)) return nullptr;
  Source source(Nodes(self), items.get());
  return BuildNext(&source);
}

PyMethodDef unflatten_methods[] = {
    Method<TreeUnflatten>("tree_unflatten", kUnflattenDoc),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree
