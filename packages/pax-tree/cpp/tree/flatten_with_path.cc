// tree_flatten_with_path, tree_leaves_with_path.
#include "core/open_children.h"
#include "support/arguments.h"
#include "tree/functions.h"
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

struct Pairs {
  ~Pairs() {
    for (PyObject* pair : pairs) Py_DECREF(pair);
  }
  PyObject* List() {
    auto n = static_cast<Py_ssize_t>(pairs.size());
    PyObject* list = PyList_New(n);
    if (list == nullptr) return nullptr;
    for (Py_ssize_t i = 0; i < n; ++i) PyList_SET_ITEM(list, i, pairs[i]);
    pairs.Resize(0);
    return list;
  }

  Stack<PyObject*, 32> pairs;  // owned
  NodeList nodes;
};

bool AddPair(Walk* walk, PyObject* leaf, Pairs* pairs) {
  PyObject** place = pairs->pairs.Reserve(1);
  Ref path(place == nullptr ? nullptr : walk->path.Tuple());
  PyObject* pair = path ? PyTuple_New(2) : nullptr;
  if (pair == nullptr) return false;
  PyTuple_SET_ITEM(pair, 0, path.release());
  PyTuple_SET_ITEM(pair, 1, Py_NewRef(leaf));
  *place = pair;
  pairs->pairs.Resize(pairs->pairs.size() + 1);
  return pairs->nodes.Add(Kind::kLeaf, 0, nullptr, nullptr);
}

bool FlattenInto(Walk* walk, PyObject* tree, Pairs* pairs);

bool FlattenChildren(Walk* walk, const Parts& parts, PyObject* data, PyObject** children,
                     Pairs* pairs) {
  for (Py_ssize_t i = 0; i < parts.arity; ++i) {
    if (!walk->path.Push(ChildKey(parts.kind, data, parts.keys.get(), i))) return false;
    bool done = FlattenInto(walk, children[i], pairs);
    walk->path.Pop();
    if (!done) return false;
  }
  return true;
}

bool FlattenNode(Walk* walk, PyObject* tree, Verdict verdict, Pairs* pairs) {
  DepthGuard guard(&walk->depth);
  if (!guard) return false;
  Parts parts;
  Slots children;
  if (!OpenChildren(walk, tree, verdict, 1, &parts, &children)) return false;
  size_t at = pairs->nodes.size(), before = pairs->pairs.size();
  PyObject* data = Py_XNewRef(parts.data.get());
  if (!pairs->nodes.Add(parts.kind, parts.arity, data, parts.registration)) return false;
  if (!FlattenChildren(walk, parts, data, children.data(), pairs)) return false;
  return pairs->nodes.Close(at, pairs->pairs.size() - before);
}

bool FlattenInto(Walk* walk, PyObject* tree, Pairs* pairs) {
  Verdict verdict;
  if (!walk->Classify(tree, &verdict)) return false;
  if (verdict.kind == Kind::kLeaf) return AddPair(walk, tree, pairs);
  return FlattenNode(walk, tree, verdict, pairs);
}

bool Flatten(const char* function, PyObject* const* args, Py_ssize_t nargs, PyObject* names,
             Pairs* pairs) {
  PyObject *tree = nullptr, *is_leaf = nullptr, *takes_path = nullptr, *none_is_leaf = nullptr;
  Parameter parameters[] = {{"tree", &tree},
                            {"is_leaf", &is_leaf},
                            {"is_leaf_takes_path", &takes_path},
                            {"none_is_leaf", &none_is_leaf}};
  if (!ReadArguments(function, args, nargs, names, parameters, 4, 3, 1, false)) return false;
  Options options;
  if (!ReadOptions(is_leaf, none_is_leaf, takes_path, &options)) return false;
  Walk walk(function, options);
  walk.with_path = true;
  return FlattenInto(&walk, tree, pairs);
}

PyObject* TreeFlattenWithPath(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  Pairs pairs;
  if (!Flatten("tree_flatten_with_path", args, nargs, names, &pairs)) return nullptr;
  Ref list(pairs.List()), treedef(pairs.nodes.Finish());
  return list && treedef ? PyTuple_Pack(2, list.get(), treedef.get()) : nullptr;
}

PyObject* TreeLeavesWithPath(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  Pairs pairs;
  return Flatten("tree_leaves_with_path", args, nargs, names, &pairs) ? pairs.List() : nullptr;
}

constexpr char kFlattenDoc[] =
    R"(tree_flatten_with_path(tree, is_leaf=None, is_leaf_takes_path=False, *, none_is_leaf=False)
--

Takes a tree apart into (path, leaf) pairs and its structure, as
`jax.tree_util.tree_flatten_with_path` does.

Args:
    tree: any object.
    is_leaf: asked at every node before it is opened; true means that the node is a leaf.
    is_leaf_takes_path: whether to call `is_leaf(path, node)` rather than `is_leaf(node)`.
    none_is_leaf: whether None is a leaf rather than a node without children.

Returns:
    The list of pairs, of which the path is a tuple of keys, and the PyTreeDef.

Example:
    >>> import pax_tree
    >>> pairs, structure = pax_tree.tree_flatten_with_path({"a": [5.0]})
    >>> pairs
    [((DictKey(key='a'), SequenceKey(idx=0)), 5.0)]
)";

constexpr char kLeavesDoc[] =
    R"(tree_leaves_with_path(tree, is_leaf=None, is_leaf_takes_path=False, *, none_is_leaf=False)
--

The (path, leaf) pairs of a tree, a list, as `jax.tree_util.tree_leaves_with_path`; arguments as of
`tree_flatten_with_path`.

Example:
    >>> import pax_tree
    >>> [(pax_tree.keystr(path), leaf) for path, leaf in pax_tree.tree_leaves_with_path({"a": [5]})]
    [("['a'][0]", 5)]
)";

}  // namespace

PyMethodDef path_methods[] = {
    {"tree_flatten_with_path", FastCall(TreeFlattenWithPath), METH_FASTCALL | METH_KEYWORDS,
     kFlattenDoc},
    {"tree_leaves_with_path", FastCall(TreeLeavesWithPath), METH_FASTCALL | METH_KEYWORDS,
     kLeavesDoc},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree
