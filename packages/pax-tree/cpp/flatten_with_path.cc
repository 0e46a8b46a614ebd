// tree_flatten_with_path, tree_leaves_with_path.
#include "pax_tree/arguments.h"
#include "pax_tree/functions.h"
#include "pax_tree/parts.h"
#include "pax_tree/treedef.h"

namespace pax_tree {
namespace {

struct Pairs {
  Ref list;
  NodeList nodes;
};

bool AddPair(Walk* walk, PyObject* leaf, Pairs* pairs) {
  Ref path(walk->PathTuple());
  Ref pair(path ? PyTuple_Pack(2, path.get(), leaf) : nullptr);
  if (!pair || PyList_Append(pairs->list.get(), pair.get()) < 0) return false;
  return pairs->nodes.Add(Kind::kLeaf, 0, nullptr, nullptr);
}

bool FlattenInto(Walk* walk, PyObject* tree, Pairs* pairs);

bool FlattenChildren(Walk* walk, const Parts& parts, PyObject* data, PyObject** children,
                     Pairs* pairs) {
  for (Py_ssize_t i = 0; i < parts.arity; ++i) {
    Ref key(ChildKey(parts.kind, data, parts.keys.get(), i));
    if (!key) return false;
    walk->path.push_back(std::move(key));
    bool done = FlattenInto(walk, children[i], pairs);
    walk->path.pop_back();
    if (!done) return false;
  }
  return true;
}

bool FlattenNode(Walk* walk, PyObject* tree, Verdict verdict, Pairs* pairs) {
  DepthGuard guard(&walk->depth);
  if (!guard) return false;
  Parts parts;
  Slots children;
  if (!Open(walk, tree, verdict, &parts) || !children.Allocate(parts.arity)) return false;
  if (!Fill(parts, children.data(), 1)) return false;
  size_t at = pairs->nodes.size();
  Py_ssize_t before = PyList_GET_SIZE(pairs->list.get());
  PyObject* data = Py_XNewRef(parts.data.get());
  if (!pairs->nodes.Add(parts.kind, parts.arity, data, parts.registration)) return false;
  if (!FlattenChildren(walk, parts, data, children.data(), pairs)) return false;
  return pairs->nodes.Close(at, PyList_GET_SIZE(pairs->list.get()) - before);
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
  pairs->list = Ref(PyList_New(0));
  return pairs->list && FlattenInto(&walk, tree, pairs);
}

PyObject* TreeFlattenWithPath(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  Pairs pairs;
  if (!Flatten("tree_flatten_with_path", args, nargs, names, &pairs)) return nullptr;
  Ref treedef(pairs.nodes.Finish());
  return treedef ? PyTuple_Pack(2, pairs.list.get(), treedef.get()) : nullptr;
}

PyObject* TreeLeavesWithPath(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  Pairs pairs;
  if (!Flatten("tree_leaves_with_path", args, nargs, names, &pairs)) return nullptr;
  return pairs.list.release();
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
