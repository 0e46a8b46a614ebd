// The functions that give paths, and those that go as deep as another structure.
#include "support/arguments.h"
#include "dm/cursor.h"
#include "tree/functions.h"

namespace pax_tree::dm {
namespace {

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

PyObject* MapUpTo(const char* function, PyObject* shallow, PyObject* f, PyObject* const* trees,
                  Py_ssize_t count, bool with_path) {
  std::vector<Cursor> cursors;
  for (Py_ssize_t k = 0; k < count; ++k) cursors.emplace_back(function, shallow, trees[k]);
  Ref results(ResultsUpTo(f, &cursors, with_path));
  return results ? UnflattenAs(function, shallow, results.get()) : nullptr;
}

PyObject* MapStructureWithPath(PyObject*, PyObject* const* args, Py_ssize_t nargs,
                               PyObject* names) {
  constexpr char kName[] = "map_structure_with_path";
  bool ignored;
  if (!ReadCheckTypes(kName, args, nargs, names, &ignored)) return nullptr;
  if (nargs == 0) return PyErr_Format(PyExc_TypeError, "%s() needs a function.", kName);
  if (nargs == 1) return PyErr_Format(PyExc_ValueError, "%s() needs a structure.", kName);
  return MapUpTo(kName, args[1], args[0], args + 1, nargs - 1, true);
}

PyObject* RunMapUpTo(const char* name, PyObject* const* args, Py_ssize_t nargs, PyObject* names,
                     bool with_path) {
  bool ignored;
  if (!ReadCheckTypes(name, args, nargs, names, &ignored)) return nullptr;
  if (nargs < 2) {
    return PyErr_Format(PyExc_TypeError, "%s() needs a shallow structure and a function.", name);
  }
  return MapUpTo(name, args[0], args[1], args + 2, nargs - 2, with_path);
}

PyObject* MapStructureUpTo(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return RunMapUpTo("map_structure_up_to", args, nargs, names, false);
}

PyObject* MapStructureWithPathUpTo(PyObject*, PyObject* const* args, Py_ssize_t nargs,
                                   PyObject* names) {
  return RunMapUpTo("map_structure_with_path_up_to", args, nargs, names, true);
}

PyObject* FlattenWithPath(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  constexpr char kName[] = "flatten_with_path";
  PyObject* structure = nullptr;
  Parameter parameters[] = {{"structure", &structure}};
  if (!ReadArguments(kName, args, nargs, names, parameters, 1, 1, 1, false)) return nullptr;
  return LeavesUpTo(kName, structure, structure, true);
}

PyObject* RunFlattenUpTo(const char* name, PyObject* const* args, Py_ssize_t nargs, PyObject* names,
                         bool with_path) {
  PyObject *shallow = nullptr, *input = nullptr, *check = nullptr;
  Parameter parameters[] = {
      {"shallow_structure", &shallow}, {"input_structure", &input}, {"check_types", &check}};
  if (!ReadArguments(name, args, nargs, names, parameters, 3, 3, 2, false)) return nullptr;
  int check_types = check == nullptr ? 1 : PyObject_IsTrue(check);
  if (check_types < 0 || !CheckShallow(name, shallow, input, nullptr, check_types == 1)) {
    return nullptr;
  }
  return LeavesUpTo(name, shallow, input, with_path);
}

PyObject* FlattenUpTo(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return RunFlattenUpTo("flatten_up_to", args, nargs, names, false);
}

PyObject* FlattenWithPathUpTo(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return RunFlattenUpTo("flatten_with_path_up_to", args, nargs, names, true);
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
    {"flatten_with_path", FastCall(FlattenWithPath), METH_FASTCALL | METH_KEYWORDS,
     kFlattenWithPathDoc},
    {"flatten_up_to", FastCall(FlattenUpTo), METH_FASTCALL | METH_KEYWORDS, kFlattenUpToDoc},
    {"flatten_with_path_up_to", FastCall(FlattenWithPathUpTo), METH_FASTCALL | METH_KEYWORDS,
     kFlattenWithPathUpToDoc},
    {"map_structure_with_path", FastCall(MapStructureWithPath), METH_FASTCALL | METH_KEYWORDS,
     kMapWithPathDoc},
    {"map_structure_up_to", FastCall(MapStructureUpTo), METH_FASTCALL | METH_KEYWORDS, kMapUpToDoc},
    {"map_structure_with_path_up_to", FastCall(MapStructureWithPathUpTo),
     METH_FASTCALL | METH_KEYWORDS, kMapWithPathUpToDoc},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree::dm
