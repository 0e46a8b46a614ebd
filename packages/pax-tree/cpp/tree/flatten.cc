// tree_flatten, tree_leaves, tree_structure; and with the paths of the leaves.
#include <algorithm>

#include "core/parts.h"
#include "support/arguments.h"
#include "tree/functions.h"
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

// Where the results of flattening go: leaves or (path, leaf) pairs, and the nodes, if wanted.
struct Sink {
  explicit Sink(NodeList* wanted = nullptr) : nodes(wanted) {}
  Sink(const Sink&) = delete;
  ~Sink() {
    for (PyObject* leaf : leaves) Py_XDECREF(leaf);
  }
  // Steals the leaf, which may be null with an error set.
  bool Add(PyObject* leaf) {
    PyObject** place = leaf == nullptr ? nullptr : leaves.Reserve(1);
    if (place == nullptr) {
      Py_XDECREF(leaf);
      return false;
    }
    *place = leaf;
    leaves.Resize(leaves.size() + 1);
    return nodes == nullptr || nodes->Add(Kind::kLeaf, 0, nullptr, nullptr);
  }
  PyObject* List() {
    auto n = static_cast<Py_ssize_t>(leaves.size());
    PyObject* list = PyList_New(n);
    if (list == nullptr) return nullptr;
    for (Py_ssize_t i = 0; i < n; ++i) PyList_SET_ITEM(list, i, leaves[i]);
    leaves.Resize(0);
    return list;
  }

  Stack<PyObject*, 32> leaves;  // owned
  NodeList* nodes;
};

bool FlattenNode(Walk* walk, PyObject* tree, Verdict verdict, Sink* sink);

bool FlattenInto(Walk* walk, PyObject* tree, Sink* sink) {
  Verdict verdict;
  if (!walk->Classify(tree, &verdict)) return false;
  if (verdict.kind == Kind::kLeaf) return sink->Add(Py_NewRef(tree));
  return FlattenNode(walk, tree, verdict, sink);
}

// Flattens children of which the first is no leaf.
bool FlattenChildren(Walk* walk, Slots* children, Py_ssize_t count, Verdict first, Sink* sink) {
  DepthGuard guard(&walk->depth);
  if (!guard || !FlattenNode(walk, (*children)[0], first, sink)) return false;
  for (Py_ssize_t i = 1; i < count; ++i) {
    if (!FlattenInto(walk, (*children)[i], sink)) return false;
  }
  return true;
}

// Flattens the last `count` objects of the sink's leaves, which are the children of a node. Those
// before the first that is no leaf stay where they are.
bool FlattenLast(Walk* walk, size_t count, Sink* sink) {
  size_t first = sink->leaves.size() - count, leaves = 0;
  Verdict verdict = {Kind::kLeaf, nullptr};
  for (; leaves < count; ++leaves) {
    PyObject* child = sink->leaves[first + leaves];
    if (walk->IsLikeLastLeaf(child)) continue;
    if (!walk->Classify(child, &verdict)) return false;
    if (verdict.kind != Kind::kLeaf) break;
  }
  if (sink->nodes != nullptr && !sink->nodes->AddLeaves(leaves)) return false;
  if (leaves == count) return true;
  auto rest = static_cast<Py_ssize_t>(count - leaves);
  Slots children;
  if (!children.Allocate(rest)) return false;
  for (Py_ssize_t i = 0; i < rest; ++i) children[i] = sink->leaves[first + leaves + i];
  sink->leaves.Resize(first + leaves);
  return FlattenChildren(walk, &children, rest, verdict, sink);
}

// Puts the children of a node after the sink's leaves, and writes down the node. Returns the number
// of children, or -1.
Py_ssize_t AddPlain(PyObject* tree, Verdict verdict, Sink* sink) {
  Py_ssize_t arity = PlainSize(tree, verdict.kind);
  PyObject** place = sink->leaves.Reserve(arity);
  PyObject* data = nullptr;
  if (place == nullptr || !TakePlain(tree, verdict.kind, arity, place, 1, &data)) return -1;
  sink->leaves.Resize(sink->leaves.size() + arity);
  bool added = true;
  if (sink->nodes == nullptr) {
    Py_XDECREF(data);
  } else {
    added = sink->nodes->Add(verdict.kind, arity, data, verdict.registration);
  }
  return added ? arity : -1;
}

Py_ssize_t AddOther(Walk* walk, PyObject* tree, Verdict verdict, Sink* sink) {
  Parts parts;
  if (!Open(walk, tree, verdict, &parts)) return -1;
  PyObject** place = sink->leaves.Reserve(parts.arity);
  if (place == nullptr) return -1;
  std::fill_n(place, parts.arity, nullptr);
  sink->leaves.Resize(sink->leaves.size() + parts.arity);
  if (!Fill(parts, place, 1)) return -1;
  if (sink->nodes == nullptr) return parts.arity;
  bool added = sink->nodes->Add(parts.kind, parts.arity, parts.data.release(), parts.registration);
  return added ? parts.arity : -1;
}

bool FlattenNode(Walk* walk, PyObject* tree, Verdict verdict, Sink* sink) {
  NodeList* nodes = sink->nodes;
  size_t at = nodes == nullptr ? 0 : nodes->size(), before = sink->leaves.size();
  Py_ssize_t arity =
      IsPlain(verdict.kind) ? AddPlain(tree, verdict, sink) : AddOther(walk, tree, verdict, sink);
  if (arity < 0 || !FlattenLast(walk, arity, sink)) return false;
  return nodes == nullptr || nodes->Close(at, sink->leaves.size() - before);
}

bool FlattenWithPath(Walk* walk, PyObject* tree, Sink* sink);

bool FlattenNodeWithPath(Walk* walk, PyObject* tree, Verdict verdict, Sink* sink) {
  DepthGuard guard(&walk->depth);
  Parts parts;
  Slots children;
  if (!guard || !OpenChildren(walk, tree, verdict, 1, &parts, &children)) return false;
  size_t at = sink->nodes->size(), before = sink->leaves.size();
  PyObject* data = Py_XNewRef(parts.data.get());
  if (!sink->nodes->Add(parts.kind, parts.arity, data, parts.registration)) return false;
  for (Py_ssize_t i = 0; i < parts.arity; ++i) {
    if (!walk->path.Push(ChildKey(parts.kind, data, parts.keys.get(), i))) return false;
    bool done = FlattenWithPath(walk, children[i], sink);
    walk->path.Pop();
    if (!done) return false;
  }
  return sink->nodes->Close(at, sink->leaves.size() - before);
}

bool FlattenWithPath(Walk* walk, PyObject* tree, Sink* sink) {
  Verdict verdict;
  if (!walk->Classify(tree, &verdict)) return false;
  if (verdict.kind != Kind::kLeaf) return FlattenNodeWithPath(walk, tree, verdict, sink);
  Ref path(walk->path.Tuple());
  PyObject* pair = path ? PyTuple_New(2) : nullptr;
  if (pair == nullptr) return false;
  PyTuple_SET_ITEM(pair, 0, path.release());
  PyTuple_SET_ITEM(pair, 1, Py_NewRef(tree));
  return sink->Add(pair);
}

bool Flatten(const Call& call, Sink* sink) {
  PyObject *tree = nullptr, *is_leaf = nullptr, *none_is_leaf = nullptr;
  Options options;
  if (!Read(call, {{"tree", &tree}, {"is_leaf", &is_leaf}, {"none_is_leaf", &none_is_leaf}}, 2,
            1) ||
      !options.Set(is_leaf, none_is_leaf)) {
    return false;
  }
  Walk walk(call.function, options);
  return FlattenInto(&walk, tree, sink);
}

bool FlattenPairs(const Call& call, Sink* sink) {
  PyObject *tree = nullptr, *is_leaf = nullptr, *takes_path = nullptr, *none_is_leaf = nullptr;
  Options options;
  if (!Read(call,
            {{"tree", &tree},
             {"is_leaf", &is_leaf},
             {"is_leaf_takes_path", &takes_path},
             {"none_is_leaf", &none_is_leaf}},
            3, 1) ||
      !options.Set(is_leaf, none_is_leaf, takes_path)) {
    return false;
  }
  Walk walk(call.function, options);
  walk.with_path = true;
  return FlattenWithPath(&walk, tree, sink);
}

using Flattening = bool (*)(const Call&, Sink*);

template <Flattening flatten>
PyObject* TreeFlatten(const Call& call) {
  NodeList nodes;
  Sink sink(&nodes);
  if (!flatten(call, &sink)) return nullptr;
  Ref leaves(sink.List()), treedef(nodes.Finish());
  return leaves && treedef ? PyTuple_Pack(2, leaves.get(), treedef.get()) : nullptr;
}

PyObject* TreeLeaves(const Call& call) {
  Sink sink;
  return Flatten(call, &sink) ? sink.List() : nullptr;
}

PyObject* TreeLeavesWithPath(const Call& call) {
  NodeList nodes;
  Sink sink(&nodes);
  return FlattenPairs(call, &sink) ? sink.List() : nullptr;
}

PyObject* TreeStructure(const Call& call) {
  NodeList nodes;
  Sink sink(&nodes);
  return Flatten(call, &sink) ? nodes.Finish() : nullptr;
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

constexpr char kFlattenWithPathDoc[] =
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

constexpr char kLeavesWithPathDoc[] =
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

PyMethodDef flatten_methods[] = {
    Method<TreeFlatten<Flatten>>("tree_flatten", kFlattenDoc),
    Method<TreeLeaves>("tree_leaves", kLeavesDoc),
    Method<TreeStructure>("tree_structure", kStructureDoc),
    Method<TreeFlatten<FlattenPairs>>("tree_flatten_with_path", kFlattenWithPathDoc),
    Method<TreeLeavesWithPath>("tree_leaves_with_path", kLeavesWithPathDoc),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree
