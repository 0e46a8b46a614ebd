// PyTreeDef.walk: a structure put together by functions.
#include "core/parts.h"
#include "support/errors.h"
#include "support/sequence.h"
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

struct Walking {
  PyObject *of_node, *of_leaf;  // of_leaf is null for leaves as they are
  const Node* node;             // the next one
  PyObject* leaves;             // an iterator
  Py_ssize_t taken;
  Depth depth;
};

PyObject* WalkLeaf(Walking* walk) {
  Ref leaf(PyIter_Next(walk->leaves));
  if (!leaf && PyErr_Occurred()) return nullptr;
  if (!leaf) {
    return Raise(PyExc_ValueError, "Too few leaves: only %zd were given.", walk->taken);
  }
  ++walk->taken;
  return walk->of_leaf == nullptr ? leaf.release() : PyObject_CallOneArg(walk->of_leaf, leaf.get());
}

PyObject* WalkNext(Walking* walk) {
  const Node& node = *walk->node++;
  if (node.kind == Kind::kLeaf) return WalkLeaf(walk);
  DepthGuard guard(&walk->depth);
  if (!guard) return nullptr;
  Ref children(MakeTuple(node.arity, [walk](Py_ssize_t) { return WalkNext(walk); }));
  Ref data(!children                        ? nullptr
           : node.kind == Kind::kNamedTuple ? Py_NewRef(node.data)
                                            : StaticData(node));
  if (!data) return nullptr;
  return PyObject_CallFunctionObjArgs(walk->of_node, children.get(), data.get(), nullptr);
}

}  // namespace

PyObject* TreeDefWalk(PyObject* self, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs != 3) {
    return Raise(PyExc_TypeError, "walk takes f_node, f_leaf and leaves, but got %zd arguments.",
                 nargs);
  }
  Ref leaves(PyObject_GetIter(args[2]));
  if (!leaves) return nullptr;
  PyObject* of_leaf = args[1] == Py_None ? nullptr : args[1];
  Walking walk = {args[0], of_leaf, Nodes(self), leaves.get(), 0, {}};
  Ref result(WalkNext(&walk));
  if (!result) return nullptr;
  Ref more(PyIter_Next(leaves.get()));
  if (more) {
    return Raise(PyExc_ValueError, "Too many leaves: the structure has %u, but more were given.",
                 Nodes(self)->num_leaves);
  }
  return PyErr_Occurred() ? nullptr : result.release();
}

}  // namespace pax_tree
