// tree_map and tree_map_with_path: one pass over the trees, without a treedef.
#include "core/parts.h"
#include "dict/key_order.h"
#include "support/arguments.h"
#include "support/compat.h"
#include "tree/functions.h"

namespace pax_tree {
namespace {

struct Mapping {
  Mapping(const char* function, Options options, PyObject* callee, Py_ssize_t trees)
      : walk(function, options), f(callee), count(trees) {
    // The interpreter's own functions keep the rules that PyObject_Vectorcall checks.
    call = PyFunction_Check(f) ? PyVectorcall_Function(f) : PyObject_Vectorcall;
  }

  Walk walk;
  PyObject* f;
  vectorcallfunc call;
  Py_ssize_t count;  // of trees
  bool broadcast = false;
};

PyObject* CallWithPath(Mapping* map, PyObject** column) {
  Ref path(map->walk.path.Tuple());
  if (!path) return nullptr;
  PyObject* saved = std::exchange(column[-1], path.get());
  PyObject* result = map->call(map->f, column - 1, static_cast<size_t>(map->count) + 1, nullptr);
  column[-1] = saved;
  return result;
}

// Calls f on a column of leaves. The slot before the column is free for the call, and takes the
// path if there is one.
inline PyObject* CallLeaf(Mapping* map, PyObject** column) {
  if (map->walk.with_path) return CallWithPath(map, column);
  size_t count = static_cast<size_t>(map->count) | PY_VECTORCALL_ARGUMENTS_OFFSET;
  return map->call(map->f, column, count, nullptr);
}

PyObject* MapColumn(Mapping* map, PyObject** column);

using Children = SlotArray<23>;

// A node under way: its own parts, and its children in all trees, slots[i * count + tree].
struct Opened {
  Parts parts;
  Children slots;
};

// Maps a child, and says where it stands if its trees differ.
PyObject* MapChild(Mapping* map, PyObject* tree, const Parts& parts, Py_ssize_t child,
                   PyObject** column) {
  Walk& walk = map->walk;
  if (walk.with_path) {
    if (!walk.path.Push(ChildKey(parts.kind, parts.data.get(), parts.keys.get(), child)))
      return nullptr;
  }
  PyObject* result = MapColumn(map, column);
  if (walk.with_path) walk.path.Pop();
  if (result == nullptr && walk.differs) walk.AddPlace(ChildKeyOf(tree, parts.Type(), child));
  return result;
}

// Puts the result of child i in the place of what it was made of: slot i is used up by then.
inline void Replace(Mapping* map, Py_ssize_t i, PyObject* result, Children* slots) {
  if (map->count == 1) return Py_DECREF(std::exchange((*slots)[i], result));
  PyObject** child = slots->data() + i * map->count;
  for (Py_ssize_t k = 0; k < map->count; ++k) Py_CLEAR(child[k]);
  (*slots)[i] = result;
}

// Maps the children before the first that may be no leaf. Returns their number, or -1.
Py_ssize_t MapLeaves(Mapping* map, Opened* node) {
  Py_ssize_t i = 0;
  if (map->walk.with_path) return 0;
  for (; i < node->parts.arity; ++i) {
    PyObject** child = node->slots.data() + i * map->count;
    if (!map->walk.IsLikeLastLeaf(child[0])) break;
    PyObject* result = CallLeaf(map, child);
    if (result == nullptr) return -1;
    Replace(map, i, result, &node->slots);
  }
  return i;
}

bool MapOthers(Mapping* map, PyObject* tree, Opened* node, Py_ssize_t first) {
  DepthGuard guard(&map->walk.depth);
  if (!guard) return false;
  for (Py_ssize_t i = first; i < node->parts.arity; ++i) {
    PyObject** child = node->slots.data() + i * map->count;
    PyObject* result = MapChild(map, tree, node->parts, i, child);
    if (result == nullptr) return false;
    Replace(map, i, result, &node->slots);
  }
  return true;
}

// Takes the children of a further tree's node if it is of the same plain kind, and nothing about it
// needs a closer look.
bool TakeQuickly(PyObject* first, PyObject* other, const Parts& parts, PyObject** out,
                 Py_ssize_t stride) {
  if (!IsPlain(parts.kind) || Py_TYPE(first) != Py_TYPE(other)) return false;
  if (parts.kind == Kind::kDict) return TakeValues(other, AsOrder(parts.data.get()), out, stride);
  if (parts.kind == Kind::kList) return TakeList(other, parts.arity, out, stride);
  return PyTuple_GET_SIZE(other) == parts.arity && TakeTuple(other, out, stride);
}

// Where a further tree has a leaf, gives it to all children. 1 if it has, 0 if not, -1 on failure.
int Repeat(Mapping* map, PyObject* other, Py_ssize_t arity, PyObject** out) {
  Verdict verdict;
  if (!map->walk.Classify(other, &verdict)) return -1;
  if (verdict.kind != Kind::kLeaf) return 0;
  for (Py_ssize_t i = 0; i < arity; ++i) out[i * map->count] = Py_NewRef(other);
  return 1;
}

// Opens the nodes of the further trees, which must be like the first.
bool OpenFurther(Mapping* map, PyObject** column, Opened* node) {
  const Parts& parts = node->parts;
  for (Py_ssize_t k = 1; k < map->count; ++k) {
    PyObject** out = node->slots.data() + k;
    int repeated = map->broadcast ? Repeat(map, column[k], parts.arity, out) : 0;
    if (repeated < 0) return false;
    if (repeated || TakeQuickly(column[0], column[k], parts, out, map->count)) continue;
    if (OpenAlike(&map->walk, column[k], parts.Type(), out, map->count)) continue;
    map->walk.other_tree = static_cast<int>(k);
    return false;
  }
  return true;
}

// Whether a copy of a dict has its size and no lookup is needed to fill it. The copy has as much
// room as the dict, which is not worth it if most of that is empty.
bool CanMapCopy(PyObject* dict) {
  Py_ssize_t size = PyDict_GET_SIZE(dict);
  return !kFreeThreaded && size >= 2 && DictEntries(dict) != nullptr &&
         DictRoom(dict) <= 2 * size + 8;
}

// A copy of a dict in which the values become the results. Nothing else can reach it meanwhile: the
// garbage collector does not track it.
struct Copied {
  explicit Copied(PyObject* dict) : copy(PyDict_Copy(dict)) {
    if (copy && PyObject_GC_IsTracked(copy.get())) PyObject_GC_UnTrack(copy.get());
    order = Ref(copy ? OrderOfDict(copy.get()) : nullptr);
  }

  Ref copy, order;
  bool collected = false;

  PyObject** Value(Py_ssize_t child) {
    return &DictEntries(copy.get())[InsertedAt(AsOrder(order.get()), child)].value;
  }
  void Replace(PyObject** value, PyObject* result) {
    collected |= PyType_IS_GC(Py_TYPE(result)) != 0;
    Py_DECREF(std::exchange(*value, result));
  }
  PyObject* Finish() {
    if (collected || dict_copies_are_tracked) PyObject_GC_Track(copy.get());
    return copy.release();
  }
};

// Maps the values before the first that may be no leaf. Returns their number, or -1.
Py_ssize_t MapLeafValues(Mapping* map, Copied* dict, Py_ssize_t size) {
  Py_ssize_t i = 0;
  for (; i < size; ++i) {
    PyObject** value = dict->Value(i);
    if (map->walk.with_path || !map->walk.IsLikeLastLeaf(*value)) break;
    PyObject* result = CallLeaf(map, value);
    if (result == nullptr) return -1;
    dict->Replace(value, result);
  }
  return i;
}

bool MapOtherValues(Mapping* map, PyObject* tree, Copied* dict, Py_ssize_t first, Py_ssize_t size) {
  DepthGuard guard(&map->walk.depth);
  Parts parts;
  parts.kind = Kind::kDict;
  parts.registration = dict_registration;
  parts.data = Ref::Borrow(dict->order.get());
  for (Py_ssize_t i = first; guard && i < size; ++i) {
    PyObject** value = dict->Value(i);
    PyObject* result = MapChild(map, tree, parts, i, value);
    if (result == nullptr) return false;
    dict->Replace(value, result);
  }
  return static_cast<bool>(guard);
}

PyObject* MapCopy(Mapping* map, PyObject* tree) {
  Copied dict(tree);
  if (!dict.order) return nullptr;
  Py_ssize_t size = NumKeys(AsOrder(dict.order.get()));
  Py_ssize_t done = MapLeafValues(map, &dict, size);
  if (done < 0) return nullptr;
  if (done < size && !MapOtherValues(map, tree, &dict, done, size)) return nullptr;
  return dict.Finish();
}

PyObject* MapNode(Mapping* map, PyObject** column, Verdict verdict) {
  if (map->count == 1 && verdict.kind == Kind::kDict && CanMapCopy(column[0])) {
    return MapCopy(map, column[0]);
  }
  Opened node;
  Parts& parts = node.parts;
  bool opened = OpenChildren(&map->walk, column[0], verdict, map->count, &parts, &node.slots) &&
                OpenFurther(map, column, &node);
  if (!opened) return nullptr;
  Py_ssize_t done = MapLeaves(map, &node);
  if (done < 0) return nullptr;
  if (done < parts.arity && !MapOthers(map, column[0], &node, done)) return nullptr;
  return Build(parts.Type(), node.slots.data());
}

PyObject* MapColumn(Mapping* map, PyObject** column) {
  Verdict verdict;
  if (!map->walk.Classify(column[0], &verdict)) return nullptr;
  if (verdict.kind == Kind::kLeaf) return CallLeaf(map, column);
  return MapNode(map, column, verdict);
}

template <bool with_path>
PyObject* TreeMap(const Call& call) {
  PyObject *f = nullptr, *tree = nullptr, *is_leaf = nullptr, *none = nullptr;
  PyObject *broadcast = nullptr, *takes_path = nullptr;
  Options options;
  bool read = with_path ? Read(call,
                               {{"f", &f},
                                {"tree", &tree},
                                {"is_leaf", &is_leaf},
                                {"none_is_leaf", &none},
                                {"broadcast", &broadcast},
                                {"is_leaf_takes_path", &takes_path}},
                               2, 2, true)
                        : Read(call,
                               {{"f", &f},
                                {"tree", &tree},
                                {"is_leaf", &is_leaf},
                                {"none_is_leaf", &none},
                                {"broadcast", &broadcast}},
                               2, 2, true);
  if (!read || !options.Set(is_leaf, none, takes_path)) return nullptr;
  int repeat = Truth(broadcast, false);
  if (repeat < 0) return nullptr;
  Py_ssize_t trees = call.nargs > 2 ? call.nargs - 1 : 1;
  Mapping map(call.function, options, f, trees);
  map.walk.with_path = with_path;
  map.broadcast = repeat == 1;
  Slots column;
  if (!column.Allocate(trees)) return nullptr;
  column[0] = Py_NewRef(tree);
  for (Py_ssize_t k = 1; k < trees; ++k) column[k] = Py_NewRef(call.args[k + 1]);
  PyObject* result = MapColumn(&map, column.data());
  if (result == nullptr) map.walk.RaiseDifference();
  return result;
}

constexpr char kMapDoc[] =
    R"(tree_map(f, tree, *rest, is_leaf=None, none_is_leaf=False, broadcast=False)
--

Applies a function to every leaf, as `jax.tree_util.tree_map` does.

Args:
    f: called as `f(leaf, *others)`, in the order of the leaves.
    tree: the tree whose structure the result has; dicts keep the order of its keys.
    *rest: trees of the same structure; where `tree` has a leaf, they may have any subtree.
    is_leaf: asked at every node of `tree` before it is opened; true means that it is a leaf.
    none_is_leaf: whether None is a leaf rather than a node without children.
    broadcast: whether the other trees may end before `tree` does; their leaf is then given to `f`
        with every leaf under it, as by `broadcast_prefix`. They are asked `is_leaf` too.

Returns:
    The tree of the results.

Raises:
    ValueError: the trees differ; the message names the first place where they do.

Example:
    >>> import pax_tree
    >>> pax_tree.tree_map(lambda x, y: x + y, {"a": [1, 2]}, {"a": [10, 20]})
    {'a': [11, 22]}
    >>> pax_tree.tree_map(lambda x, y: x + y, {"a": [1, 2]}, {"a": 10}, broadcast=True)
    {'a': [11, 12]}
)";

constexpr char kMapWithPathDoc[] =
    R"(tree_map_with_path(f, tree, *rest, is_leaf=None, is_leaf_takes_path=False, none_is_leaf=False, broadcast=False)
--

Applies a function to every leaf and its path, as `jax.tree_util.tree_map_with_path` does.

Args:
    f: called as `f(path, leaf, *others)`; the path is a tuple of keys.
    tree: as for `tree_map`.
    *rest: as for `tree_map`.
    is_leaf: as for `tree_map`.
    is_leaf_takes_path: whether to call `is_leaf(path, node)` rather than `is_leaf(node)`.
    none_is_leaf: as for `tree_map`.
    broadcast: as for `tree_map`.

Returns:
    The tree of the results.

Example:
    >>> import pax_tree
    >>> pax_tree.tree_map_with_path(lambda path, x: pax_tree.keystr(path), {"a": [1, 2]})
    {'a': ["['a'][0]", "['a'][1]"]}
)";

}  // namespace

PyMethodDef map_methods[] = {
    Method<TreeMap<false>>("tree_map", kMapDoc),
    Method<TreeMap<true>>("tree_map_with_path", kMapWithPathDoc),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree
