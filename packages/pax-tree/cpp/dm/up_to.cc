// The functions that give paths, and those that go as deep as another structure.
#include "core/parts.h"
#include "dm/dm.h"
#include "support/arguments.h"
#include "support/errors.h"
#include "support/sequence.h"
#include "tree/functions.h"

namespace pax_tree::dm {
namespace {

// Where the shallow structure has leaves, one after the other: what the input structure has there.
// Nodes are opened as late as possible.
class Cursor {
 public:
  Cursor(const char* function, PyObject* shallow, PyObject* input)
      : function_(function), shallow_(Ref::Borrow(shallow)), input_(Ref::Borrow(input)) {}
  // Moves on; 1 with a `value`, 0 at the end, -1 with an error set.
  int Next(Ref* value);
  // The path of the present leaf.
  PyObject* Path() const;

 private:
  struct Level {
    Children shallow, input;
    Ref by_key;  // the input's children, made when they do not stand at the same places
    Py_ssize_t next = 0;
  };
  int Visit(PyObject* shallow, Ref input, Ref* value);
  bool Push(PyObject* shallow, Form form, PyObject* input);
  bool OpenInput(PyObject* object, Children* children);
  PyObject* Find(Level* level, Py_ssize_t i);
  PyObject* Missing(PyObject* key);

  const char* function_;
  Ref shallow_, input_;  // until the first step
  std::vector<Level> levels_;
};

PyObject* DictOfItems(const Children& children) {
  Ref dict(PyDict_New());
  for (Py_ssize_t i = 0; dict && i < children.size(); ++i) {
    Ref key(children.Key(i));
    if (!key || PyDict_SetItem(dict.get(), key.get(), children[i]) < 0) return nullptr;
  }
  return dict.release();
}

std::string Text(PyObject* owned) {
  Ref object(owned);
  return object ? SafeRepr(owned) : "?";
}

bool CheckDepth(size_t depth) {
  if (depth < static_cast<size_t>(Py_GetRecursionLimit())) return true;
  return Raise(PyExc_RecursionError, "The structure is deeper than the recursion limit.");
}

PyObject* Cursor::Path() const {
  return MakeTuple(static_cast<Py_ssize_t>(levels_.size()),
                   [this](Py_ssize_t i) { return levels_[i].shallow.Key(levels_[i].next - 1); });
}

PyObject* Cursor::Missing(PyObject* key) {
  return Raise(PyExc_ValueError,
               "%s: the shallow structure has the key %s at the path %s, and a structure to "
               "be taken apart has not.",
               function_, SafeRepr(key).c_str(), Text(Path()).c_str());
}

bool Cursor::OpenInput(PyObject* object, Children* children) {
  Form form;
  if (!FormOf(object, &form)) return false;
  if (OpenItems(object, form, children)) return true;
  if (form.nested || form.keyed || !PyErr_ExceptionMatches(PyExc_TypeError)) return false;
  RaiseFrom(PyExc_TypeError, std::string(function_) + ": a structure to be taken apart has " +
                                 DescribeForm(object, form) +
                                 " where the shallow structure has a node.");
  return false;
}

bool Cursor::Push(PyObject* shallow, Form form, PyObject* input) {
  Level level;
  if (!CheckDepth(levels_.size())) return false;
  bool same = shallow == input;
  if (!same && !OpenInput(input, &level.input)) return false;
  if (!OpenItems(shallow, form, &level.shallow)) return false;
  if (same) {
    level.input.keys = Ref::Borrow(level.shallow.keys.get());
    level.input.values = Ref::Borrow(level.shallow.values.get());
  }
  levels_.push_back(std::move(level));
  return true;
}

// The input's child under the key of the shallow one, borrowed. Often it stands at the same place.
PyObject* Cursor::Find(Level* level, Py_ssize_t i) {
  const Children &shallow = level->shallow, &input = level->input;
  bool here = i < input.size() && !shallow.keys == !input.keys;
  if (here && (!input.keys || PySequence_Fast_GET_ITEM(input.keys.get(), i) ==
                                  PySequence_Fast_GET_ITEM(shallow.keys.get(), i))) {
    return input[i];
  }
  Ref key(shallow.Key(i));
  if (key && !level->by_key) level->by_key = Ref(DictOfItems(input));
  if (!key || !level->by_key) return nullptr;
  PyObject* child = PyDict_GetItemWithError(level->by_key.get(), key.get());
  return child != nullptr || PyErr_Occurred() ? child : Missing(key.get());
}

// A leaf is what is looked for; into a node, the next step goes.
int Cursor::Visit(PyObject* shallow, Ref input, Ref* value) {
  Form form;
  if (!FormOf(shallow, &form)) return -1;
  if (form.keyed) return Push(shallow, form, input.get()) ? 0 : -1;
  *value = std::move(input);
  return 1;
}

int Cursor::Next(Ref* value) {
  if (shallow_) {
    Ref shallow = std::move(shallow_);
    int found = Visit(shallow.get(), std::move(input_), value);
    if (found != 0) return found;
  }
  while (!levels_.empty()) {
    Level& level = levels_.back();
    if (level.next == level.shallow.size()) {
      levels_.pop_back();
      continue;
    }
    Py_ssize_t i = level.next++;
    Ref shallow = Ref::Borrow(level.shallow[i]), input = Ref::Borrow(Find(&level, i));
    int found = input ? Visit(shallow.get(), std::move(input), value) : -1;
    if (found != 0) return found;
  }
  return 0;
}

bool AppendLeaf(PyObject* leaves, const Cursor& cursor, PyObject* value, bool with_path) {
  if (!with_path) return PyList_Append(leaves, value) == 0;
  Ref path(cursor.Path()), pair(path ? PyTuple_Pack(2, path.get(), value) : nullptr);
  return pair && PyList_Append(leaves, pair.get()) == 0;
}

PyObject* LeavesUpTo(const char* function, PyObject* shallow, PyObject* input, bool with_path) {
  Cursor cursor(function, shallow, input);
  Ref leaves(PyList_New(0)), value;
  int more = leaves ? cursor.Next(&value) : -1;
  for (; more == 1; more = cursor.Next(&value)) {
    if (!AppendLeaf(leaves.get(), cursor, value.get(), with_path)) return nullptr;
  }
  return more == 0 ? leaves.release() : nullptr;
}

// Fills the column with the next leaf of every structure; 0 when the first of them ends.
int NextColumn(std::vector<Cursor>* cursors, Slots* column) {
  int more = 0;
  for (size_t k = 0; k < cursors->size(); ++k) {
    Ref value;
    more = (*cursors)[k].Next(&value);
    if (more != 1) return more;
    Ref old(std::exchange((*column)[static_cast<Py_ssize_t>(k)], value.release()));
  }
  return more;
}

// Calls f on a column; the slot before it is free, and takes the path if there is one.
PyObject* CallOn(PyObject* f, const std::vector<Cursor>& cursors, PyObject** column,
                 bool with_path) {
  size_t count = cursors.size();
  if (!with_path) {
    return PyObject_Vectorcall(f, column, count | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
  }
  Ref path(cursors[0].Path());
  if (!path) return nullptr;
  column[-1] = path.get();
  return PyObject_Vectorcall(f, column - 1, count + 1, nullptr);
}

PyObject* ResultsUpTo(PyObject* f, std::vector<Cursor>* cursors, bool with_path) {
  Slots column;
  if (!column.Allocate(static_cast<Py_ssize_t>(cursors->size()))) return nullptr;
  Ref results(PyList_New(0));
  int more = results ? NextColumn(cursors, &column) : -1;
  for (; more == 1; more = NextColumn(cursors, &column)) {
    Ref result(CallOn(f, *cursors, column.data(), with_path));
    if (!result || PyList_Append(results.get(), result.get()) < 0) return nullptr;
  }
  return more == 0 ? results.release() : nullptr;
}

// Maps the structures among the arguments of the call, from `first` on.
PyObject* MapUpTo(const Call& call, PyObject* shallow, PyObject* f, Py_ssize_t first,
                  bool with_path) {
  std::vector<Cursor> cursors;
  for (Py_ssize_t k = first; k < call.nargs; ++k) {
    cursors.emplace_back(call.function, shallow, call.args[k]);
  }
  Ref results(ResultsUpTo(f, &cursors, with_path));
  return results ? UnflattenAs(call.function, shallow, results.get()) : nullptr;
}

PyObject* MapStructureWithPath(const Call& call) {
  bool ignored;
  if (!ReadCheckTypes(call, &ignored)) return nullptr;
  if (call.nargs == 0) return Raise(PyExc_TypeError, "%s() needs a function.", call.function);
  if (call.nargs == 1) return Raise(PyExc_ValueError, "%s() needs a structure.", call.function);
  return MapUpTo(call, call.args[1], call.args[0], 1, true);
}

template <bool with_path>
PyObject* MapStructureUpTo(const Call& call) {
  bool ignored;
  if (!ReadCheckTypes(call, &ignored)) return nullptr;
  if (call.nargs < 2) {
    return Raise(PyExc_TypeError, "%s() needs a shallow structure and a function.", call.function);
  }
  return MapUpTo(call, call.args[0], call.args[1], 2, with_path);
}

PyObject* FlattenWithPath(const Call& call) {
  PyObject* structure = nullptr;
  if (!Read(call, {{"structure", &structure}}, 1, 1)) return nullptr;
  return LeavesUpTo(call.function, structure, structure, true);
}

template <bool with_path>
PyObject* FlattenUpTo(const Call& call) {
  PyObject *shallow = nullptr, *input = nullptr, *check = nullptr;
  if (!Read(call,
            {{"shallow_structure", &shallow}, {"input_structure", &input}, {"check_types", &check}},
            3, 2)) {
    return nullptr;
  }
  int check_types = Truth(check, true);
  if (check_types < 0) return nullptr;
  if (!CheckShallow(call.function, shallow, input, nullptr, check_types == 1)) return nullptr;
  return LeavesUpTo(call.function, shallow, input, with_path);
}

constexpr char kFlattenWithPathDoc[] = R"(flatten_with_path(structure)
--

The leaves of a structure with their paths, as dm-tree's `flatten_with_path`.

Args:
    structure: any object.

Returns:
    The list of `(path, leaf)` in the order of `flatten`. A path is a tuple of the keys of
    mappings, the names of fields and the indices in sequences.

Raises:
    TypeError: the keys of a mapping do not sort.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.flatten_with_path({"a": [1, 2], "b": None})
    [(('a', 0), 1), (('a', 1), 2), (('b',), None)]
)";

constexpr char kFlattenUpToDoc[] =
    R"(flatten_up_to(shallow_structure, input_structure, check_types=True)
--

Takes a structure apart as deep as another one goes, as dm-tree's `flatten_up_to`.

Args:
    shallow_structure: how deep to go; its leaves may be anything.
    input_structure: what is taken apart.
    check_types: whether the nodes of both must be of the same types, as in
        `assert_shallow_structure`.

Returns:
    The list of what stands in `input_structure` where the other has leaves.

Raises:
    TypeError: a leaf or another type stands where `shallow_structure` has a node.
    ValueError: a node has another number of children or other keys.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.flatten_up_to({"a": None, "b": None}, {"a": [1, 2], "b": 3})
    [[1, 2], 3]
)";

constexpr char kFlattenWithPathUpToDoc[] =
    R"(flatten_with_path_up_to(shallow_structure, input_structure, check_types=True)
--

`flatten_up_to` with paths, as dm-tree's `flatten_with_path_up_to`.

Args:
    shallow_structure: as for `flatten_up_to`.
    input_structure: as for `flatten_up_to`.
    check_types: as for `flatten_up_to`.

Returns:
    The list of `(path, value)`.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.flatten_with_path_up_to({"a": None, "b": None}, {"a": [1, 2], "b": 3})
    [(('a',), [1, 2]), (('b',), 3)]
)";

constexpr char kMapWithPathDoc[] = R"(map_structure_with_path(func, *structures, check_types=True)
--

Applies a function to every leaf and its path, as dm-tree's `map_structure_with_path`.

Args:
    func: called as `func(path, leaf, *others)`; paths are those of `flatten_with_path`.
    *structures: one or more; the others are taken apart as deep as the first one goes, and what
        they have beyond its keys is passed over.
    check_types: has no effect, as in dm-tree.

Returns:
    The first structure with the results as leaves.

Raises:
    TypeError: a leaf stands where the first structure has a node.
    ValueError: a key of the first structure is missing in another one, no structure or another
        keyword is given, or the first structure holds a view of a mapping or a `bytearray`, which
        are nodes for some functions of dm-tree and leaves for others.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.map_structure_with_path(lambda path, leaf: (path, leaf), [{"a": 1}])
    [{'a': ((0, 'a'), 1)}]
)";

constexpr char kMapUpToDoc[] =
    R"(map_structure_up_to(shallow_structure, func, *structures, check_types=True)
--

Applies a function as deep as a structure goes, as dm-tree's `map_structure_up_to`.

Args:
    shallow_structure: how deep to go; its leaves may be anything.
    func: called as `func(value, *others)` with what stands where `shallow_structure` has leaves.
    *structures: what is taken apart; nodes may be of other types, and have more keys.
    check_types: has no effect, as in dm-tree.

Returns:
    `shallow_structure` with the results as leaves.

Raises:
    TypeError: a leaf stands where `shallow_structure` has a node.
    ValueError: a key is missing, or no structure or another keyword is given.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.map_structure_up_to({"a": None, "b": None}, len, {"a": [1, 2], "b": "text"})
    {'a': 2, 'b': 4}
)";

constexpr char kMapWithPathUpToDoc[] =
    R"(map_structure_with_path_up_to(shallow_structure, func, *structures, check_types=True)
--

`map_structure_up_to` with paths, as dm-tree's `map_structure_with_path_up_to`.

Args:
    shallow_structure: as for `map_structure_up_to`.
    func: called as `func(path, value, *others)`.
    *structures: as for `map_structure_up_to`.
    check_types: has no effect, as in dm-tree.

Returns:
    `shallow_structure` with the results as leaves.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.map_structure_with_path_up_to([None], lambda path, x: (path, x), [{"a": 1}])
    [((0,), {'a': 1})]
)";

}  // namespace

PyMethodDef up_to_methods[] = {
    Method<FlattenWithPath>("flatten_with_path", kFlattenWithPathDoc),
    Method<FlattenUpTo<false>>("flatten_up_to", kFlattenUpToDoc),
    Method<FlattenUpTo<true>>("flatten_with_path_up_to", kFlattenWithPathUpToDoc),
    Method<MapStructureWithPath>("map_structure_with_path", kMapWithPathDoc),
    Method<MapStructureUpTo<false>>("map_structure_up_to", kMapUpToDoc),
    Method<MapStructureUpTo<true>>("map_structure_with_path_up_to", kMapWithPathUpToDoc),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree::dm
