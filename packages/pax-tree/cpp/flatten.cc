// tree_flatten, tree_leaves, tree_structure.
#include <vector>

#include "pax_tree/arguments.h"
#include "pax_tree/functions.h"
#include "pax_tree/parts.h"
#include "pax_tree/scratch.h"
#include "pax_tree/treedef.h"

namespace pax_tree {
namespace {

// Where the results of flattening go; either may be missing.
struct Sink {
  Sink() : leaves(Scratch<PyObject*>::Take()) {}
  Sink(const Sink&) = delete;
  ~Sink() {
    for (PyObject* leaf : leaves) Py_DECREF(leaf);
    Scratch<PyObject*>::GiveBack(&leaves);
  }
  PyObject* List() {
    auto n = static_cast<Py_ssize_t>(leaves.size());
    PyObject* list = PyList_New(n);
    if (list == nullptr) return nullptr;
    for (Py_ssize_t i = 0; i < n; ++i) PyList_SET_ITEM(list, i, leaves[i]);
    leaves.clear();
    return list;
  }

  std::vector<PyObject*> leaves;  // owned
  NodeList* nodes = nullptr;
};

bool AddLeaf(Sink* sink, PyObject* leaf) {
  sink->leaves.push_back(Py_NewRef(leaf));
  return sink->nodes == nullptr || sink->nodes->Add(Kind::kLeaf, 0, nullptr, nullptr);
}

bool FlattenInto(Walk* walk, PyObject* tree, Sink* sink);

bool FlattenNode(Walk* walk, PyObject* tree, Verdict verdict, Sink* sink) {
  DepthGuard guard(&walk->depth);
  if (!guard) return false;
  Parts parts;
  Slots children;
  if (!Open(walk, tree, verdict, &parts) || !children.Allocate(parts.arity)) return false;
  if (!Fill(parts, children.data(), 1)) return false;
  NodeList* nodes = sink->nodes;
  size_t at = nodes == nullptr ? 0 : nodes->size(), before = sink->leaves.size();
  if (nodes != nullptr &&
      !nodes->Add(parts.kind, parts.arity, parts.data.release(), parts.registration)) {
    return false;
  }
  for (Py_ssize_t i = 0; i < parts.arity; ++i) {
    if (!FlattenInto(walk, children[i], sink)) return false;
  }
  return nodes == nullptr || nodes->Close(at, sink->leaves.size() - before);
}

bool FlattenInto(Walk* walk, PyObject* tree, Sink* sink) {
  Verdict verdict;
  if (!walk->Classify(tree, &verdict)) return false;
  if (verdict.kind == Kind::kLeaf) return AddLeaf(sink, tree);
  return FlattenNode(walk, tree, verdict, sink);
}

bool Flatten(const char* function, PyObject* const* args, Py_ssize_t nargs, PyObject* names,
             Sink* sink) {
  PyObject *tree = nullptr, *is_leaf = Py_None, *given = nullptr, *none_is_leaf = nullptr;
  Parameter parameters[] = {{"tree", &tree}, {"is_leaf", &given}, {"none_is_leaf", &none_is_leaf}};
  if (!ReadArguments(function, args, nargs, names, parameters, 3, 2, 1, false)) return false;
  Options options;
  if (given != nullptr) is_leaf = given;
  if (!ReadOptions(is_leaf, none_is_leaf, nullptr, &options)) return false;
  Walk walk(function, options);
  return FlattenInto(&walk, tree, sink);
}

PyObject* TreeFlatten(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  NodeList nodes;
  Sink sink;
  sink.nodes = &nodes;
  if (!Flatten("tree_flatten", args, nargs, names, &sink)) return nullptr;
  Ref leaves(sink.List()), treedef(nodes.Finish());
  return leaves && treedef ? PyTuple_Pack(2, leaves.get(), treedef.get()) : nullptr;
}

PyObject* TreeLeaves(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  Sink sink;
  return Flatten("tree_leaves", args, nargs, names, &sink) ? sink.List() : nullptr;
}

PyObject* TreeStructure(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  NodeList nodes;
  Sink sink;
  sink.nodes = &nodes;
  return Flatten("tree_structure", args, nargs, names, &sink) ? nodes.Finish() : nullptr;
}

constexpr char kFlattenDoc[] =
    R"(tree_flatten(tree, is_leaf=None, *, none_is_leaf=False)
--

Takes a tree apart into its leaves and its structure, as `jax.tree_util.tree_flatten` does.

Args:
    tree: any object; what is no container is a leaf.
    is_leaf: asked at every node before it is opened; true means that the node is a leaf.
    none_is_leaf: whether None is a leaf rather than a node without children.

Returns:
    The list of leaves, and the PyTreeDef.

Raises:
    ValueError: the flatten function of a registered class returned something else than a pair.
    RecursionError: the tree is too deep, or contains itself.

Example:
    >>> import pax_tree
    >>> leaves, structure = pax_tree.tree_flatten({"b": 1, "a": [2, None]})
    >>> leaves, structure
    ([2, 1], PyTreeDef({'a': [*, None], 'b': *}))
)";

constexpr char kLeavesDoc[] =
    R"(tree_leaves(tree, is_leaf=None, *, none_is_leaf=False)
--

The leaves of a tree, a list, as `jax.tree_util.tree_leaves`; arguments as of `tree_flatten`.

Example:
    >>> import pax_tree
    >>> pax_tree.tree_leaves([1, (2, {"x": 3}), None])
    [1, 2, 3]
)";

constexpr char kStructureDoc[] =
    R"(tree_structure(tree, is_leaf=None, *, none_is_leaf=False)
--

The structure of a tree, a PyTreeDef, as `jax.tree_util.tree_structure`; arguments as of
`tree_flatten`.

Example:
    >>> import pax_tree
    >>> pax_tree.tree_structure([1, (2, 3)])
    PyTreeDef([*, (*, *)])
)";

}  // namespace

PyMethodDef flatten_methods[] = {
    {"tree_flatten", FastCall(TreeFlatten), METH_FASTCALL | METH_KEYWORDS, kFlattenDoc},
    {"tree_leaves", FastCall(TreeLeaves), METH_FASTCALL | METH_KEYWORDS, kLeavesDoc},
    {"tree_structure", FastCall(TreeStructure), METH_FASTCALL | METH_KEYWORDS, kStructureDoc},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree
