// map_structure.
#include "dm/rebuild.h"
#include "tree/functions.h"
#include "core/parts.h"

namespace pax_tree::dm {
namespace {

constexpr char kName[] = "map_structure";

class Mapping : public Rebuild {
 public:
  Mapping(PyObject* f, Py_ssize_t count) : Rebuild(kName, count), f_(f) {
    // The interpreter's own functions keep the rules that PyObject_Vectorcall checks.
    call_ = PyFunction_Check(f) ? PyVectorcall_Function(f) : PyObject_Vectorcall;
  }

 protected:
  PyObject* Leaf(PyObject** column) override {
    size_t count = static_cast<size_t>(count_) | PY_VECTORCALL_ARGUMENTS_OFFSET;
    return call_(f_, column, count, nullptr);
  }

 private:
  PyObject* f_;
  vectorcallfunc call_;
};

bool CheckGiven(PyObject* const* args, Py_ssize_t nargs) {
  if (nargs == 0) {
    PyErr_Format(PyExc_TypeError, "%s() needs a function and at least one structure.", kName);
  } else if (!PyCallable_Check(args[0])) {
    PyErr_Format(PyExc_TypeError, "%s() takes a function first, but got %s.", kName,
                 SafeRepr(args[0]).c_str());
  } else if (nargs == 1) {
    PyErr_Format(PyExc_ValueError, "%s() needs at least one structure.", kName);
  } else {
    return true;
  }
  return false;
}

PyObject* MapStructure(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  bool check_types = true;
  if (!CheckGiven(args, nargs) || !ReadCheckTypes(kName, args, nargs, names, &check_types)) {
    return nullptr;
  }
  for (Py_ssize_t k = 2; k < nargs; ++k) {
    if (!CheckSame(kName, args[1], args[k], check_types)) return nullptr;
  }
  Slots column;
  if (!column.Allocate(nargs - 1)) return nullptr;
  for (Py_ssize_t k = 1; k < nargs; ++k) column[k - 1] = Py_NewRef(args[k]);
  return Mapping(args[0], nargs - 1).Column(column.data());
}

constexpr char kMapDoc[] = R"(map_structure(func, *structures, check_types=True)
--

Applies a function to every leaf of structures, as dm-tree's `map_structure`.

Args:
    func: called as `func(leaf, *others)`, in the order of `flatten`.
    *structures: one or more of the same structure; this is seen before the first call.
    check_types: whether nodes must be of the same type and mappings have the same keys;
        otherwise the number of children is enough. Types are as in `assert_same_structure`.

Returns:
    The first structure with the results as leaves.

Raises:
    TypeError: `func` cannot be called, the keys of a mapping do not sort, or types differ.
    ValueError: the structures differ, there is none, or another keyword is given.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.map_structure(lambda x, y: x + y, {"a": [1, 2]}, {"a": [10, 20]})
    {'a': [11, 22]}
)";

}  // namespace

PyMethodDef map_methods[] = {
    {kName, FastCall(MapStructure), METH_FASTCALL | METH_KEYWORDS, kMapDoc},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree::dm
