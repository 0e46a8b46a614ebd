// tree_map and tree_map_with_path: one pass over the trees, without a treedef.
#include "pax_tree/arguments.h"
#include "pax_tree/functions.h"
#include "pax_tree/parts.h"

namespace pax_tree {
namespace {

struct Mapping {
  Walk walk;
  PyObject* f;
  Py_ssize_t count;  // of trees
};

// Calls f on a column of leaves. The slot before the column is free for the call, and takes the
// path if there is one.
PyObject* CallLeaf(Mapping* map, PyObject** column) {
  auto count = static_cast<size_t>(map->count);
  if (!map->walk.with_path) {
    return PyObject_Vectorcall(map->f, column, count | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
  }
  Ref path(map->walk.PathTuple());
  if (!path) return nullptr;
  PyObject* saved = std::exchange(column[-1], path.get());
  PyObject* result = PyObject_Vectorcall(map->f, column - 1, count + 1, nullptr);
  column[-1] = saved;
  return result;
}

PyObject* MapColumn(Mapping* map, PyObject** column);

// Maps a child, and says where it stands if its trees differ.
PyObject* MapChild(Mapping* map, PyObject* tree, const Parts& parts, Py_ssize_t child,
                   PyObject** column) {
  Walk& walk = map->walk;
  if (walk.with_path) {
    Ref key(ChildKey(parts.kind, parts.data.get(), parts.keys.get(), child));
    if (!key) return nullptr;
    walk.path.push_back(std::move(key));
  }
  PyObject* result = MapColumn(map, column);
  if (walk.with_path) walk.path.pop_back();
  if (result == nullptr && walk.differs) {
    walk.AddPlace(ChildKeyOf(tree, parts.kind, parts.registration, parts.data.get(), child));
  }
  return result;
}

// Children of all trees, a column per child: slots[i * count + tree].
bool FillColumns(Mapping* map, PyObject** column, const Parts& parts, Slots* slots) {
  if (!Fill(parts, slots->data(), map->count)) return false;
  for (Py_ssize_t k = 1; k < map->count; ++k) {
    Parts other;
    bool alike = OpenAlike(&map->walk, column[k], parts.kind, parts.registration, parts.data.get(),
                           parts.arity, &other) &&
                 FillAlike(&map->walk, other, parts.data.get(), slots->data() + k, map->count);
    if (alike) continue;
    map->walk.other_tree = static_cast<int>(k);
    return false;
  }
  return true;
}

PyObject* MapNode(Mapping* map, PyObject** column, Verdict verdict) {
  DepthGuard guard(&map->walk.depth);
  if (!guard) return nullptr;
  Parts parts;
  Slots slots;
  if (!Open(&map->walk, column[0], verdict, &parts)) return nullptr;
  if (!slots.Allocate(parts.arity * map->count)) return nullptr;
  if (!FillColumns(map, column, parts, &slots)) return nullptr;
  for (Py_ssize_t i = 0; i < parts.arity; ++i) {
    PyObject** child = slots.data() + i * map->count;
    PyObject* result = MapChild(map, column[0], parts, i, child);
    if (result == nullptr) return nullptr;
    for (Py_ssize_t k = 0; k < map->count; ++k) Py_CLEAR(child[k]);
    slots[i] = result;  // column i is used up, and i <= i * count
  }
  return Build(parts.kind, parts.registration, parts.data.get(), slots.data(), parts.arity);
}

PyObject* MapColumn(Mapping* map, PyObject** column) {
  Verdict verdict;
  if (!map->walk.Classify(column[0], &verdict)) return nullptr;
  if (verdict.kind == Kind::kLeaf) return CallLeaf(map, column);
  return MapNode(map, column, verdict);
}

PyObject* RunMap(const char* function, PyObject* const* args, Py_ssize_t nargs, PyObject* names,
                 bool with_path) {
  PyObject *f = nullptr, *tree = nullptr, *is_leaf = nullptr, *none = nullptr, *takes = nullptr;
  Parameter parameters[] = {{"f", &f},
                            {"tree", &tree},
                            {"is_leaf", &is_leaf},
                            {"none_is_leaf", &none},
                            {"is_leaf_takes_path", &takes}};
  int count = with_path ? 5 : 4;
  if (!ReadArguments(function, args, nargs, names, parameters, count, 2, 2, true)) return nullptr;
  Options options;
  if (!ReadOptions(is_leaf, none, takes, &options)) return nullptr;
  Py_ssize_t trees = nargs > 2 ? nargs - 1 : 1;
  Mapping map{Walk(function, options), f, trees};
  map.walk.with_path = with_path;
  Slots column;
  if (!column.Allocate(trees)) return nullptr;
  column[0] = Py_NewRef(tree);
  for (Py_ssize_t k = 1; k < trees; ++k) column[k] = Py_NewRef(args[k + 1]);
  PyObject* result = MapColumn(&map, column.data());
  if (result == nullptr) map.walk.RaiseDifference();
  return result;
}

PyObject* TreeMap(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return RunMap("tree_map", args, nargs, names, false);
}

PyObject* TreeMapWithPath(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return RunMap("tree_map_with_path", args, nargs, names, true);
}

constexpr char kMapDoc[] =
    R"(tree_map(f, tree, *rest, is_leaf=None, none_is_leaf=False)
--

Applies a function to every leaf, as `jax.tree_util.tree_map` does.

Args:
    f: called as `f(leaf, *others)`, in the order of the leaves.
    tree: the tree whose structure the result has; dicts keep the order of its keys.
    *rest: trees of the same structure; where `tree` has a leaf, they may have any subtree.
    is_leaf: asked at every node of `tree` before it is opened; true means that it is a leaf.
    none_is_leaf: whether None is a leaf rather than a node without children.

Returns:
    The tree of the results.

Raises:
    ValueError: the trees differ; the message names the first place where they do.

Example:
    >>> import pax_tree
    >>> pax_tree.tree_map(lambda x, y: x + y, {"a": [1, 2]}, {"a": [10, 20]})
    {'a': [11, 22]}
)";

constexpr char kMapWithPathDoc[] =
    R"(tree_map_with_path(f, tree, *rest, is_leaf=None, is_leaf_takes_path=False, none_is_leaf=False)
--

Applies a function to every leaf and its path, as `jax.tree_util.tree_map_with_path` does.

Args:
    f: called as `f(path, leaf, *others)`; the path is a tuple of keys.
    tree: as for `tree_map`.
    *rest: as for `tree_map`.
    is_leaf: as for `tree_map`.
    is_leaf_takes_path: whether to call `is_leaf(path, node)` rather than `is_leaf(node)`.
    none_is_leaf: as for `tree_map`.

Returns:
    The tree of the results.

Example:
    >>> import pax_tree
    >>> pax_tree.tree_map_with_path(lambda path, x: pax_tree.keystr(path), {"a": [1, 2]})
    {'a': ["['a'][0]", "['a'][1]"]}
)";

}  // namespace

PyMethodDef map_methods[] = {
    {"tree_map", FastCall(TreeMap), METH_FASTCALL | METH_KEYWORDS, kMapDoc},
    {"tree_map_with_path", FastCall(TreeMapWithPath), METH_FASTCALL | METH_KEYWORDS,
     kMapWithPathDoc},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree
