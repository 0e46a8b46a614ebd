// Reading arguments.
#include "support/arguments.h"

#include "support/errors.h"

namespace pax_tree {
namespace {

bool Assign(const char* function, PyObject* name, PyObject* value, Parameter* parameters,
            int count) {
  for (int i = 0; i < count; ++i) {
    if (PyUnicode_CompareWithASCIIString(name, parameters[i].name) != 0) continue;
    if (*parameters[i].value != nullptr) {
      return Raise(PyExc_TypeError, "%s() got the argument %R twice.", function, name);
    }
    *parameters[i].value = value;
    return true;
  }
  return Raise(PyExc_TypeError, "%s() has no parameter %R.", function, name);
}

bool TooMany(const char* function, int positional, Py_ssize_t nargs) {
  return Raise(PyExc_TypeError, "%s() takes at most %d positional arguments, but got %zd.",
               function, positional, nargs);
}

bool CheckGiven(const char* function, const Parameter* parameters, int required) {
  for (int i = 0; i < required; ++i) {
    if (*parameters[i].value != nullptr) continue;
    return Raise(PyExc_TypeError, "%s() needs the argument '%s'.", function, parameters[i].name);
  }
  return true;
}

}  // namespace

bool ReadArguments(const char* function, PyObject* const* args, Py_ssize_t nargs, PyObject* names,
                   Parameter* parameters, int count, int positional, int required, bool variadic) {
  if (nargs > positional && !variadic) return TooMany(function, positional, nargs);
  for (Py_ssize_t i = 0; i < nargs && i < positional; ++i) *parameters[i].value = args[i];
  Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    if (!Assign(function, name, args[nargs + i], parameters, count)) return false;
  }
  return CheckGiven(function, parameters, required);
}

bool ReadOptions(PyObject* is_leaf, PyObject* none_is_leaf, PyObject* takes_path,
                 Options* options) {
  if (is_leaf != Py_None) options->is_leaf = is_leaf;
  int none = none_is_leaf == nullptr ? 0 : PyObject_IsTrue(none_is_leaf);
  int path = takes_path == nullptr ? 0 : PyObject_IsTrue(takes_path);
  if (none < 0 || path < 0) return false;
  options->none_is_leaf = none == 1;
  options->is_leaf_takes_path = path == 1 && options->is_leaf != nullptr;
  return true;
}

}  // namespace pax_tree
