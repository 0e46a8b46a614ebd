// Reading arguments.
#include "support/arguments.h"

#include "support/errors.h"

namespace pax_tree {
namespace {

bool Assign(const Call& call, PyObject* name, PyObject* value, const Parameter* parameters,
            int count) {
  for (int i = 0; i < count; ++i) {
    if (PyUnicode_CompareWithASCIIString(name, parameters[i].name) != 0) continue;
    if (*parameters[i].value != nullptr) {
      return Raise(PyExc_TypeError, "%s() got the argument %R twice.", call.function, name);
    }
    *parameters[i].value = value;
    return true;
  }
  return Raise(PyExc_TypeError, "%s() has no parameter %R.", call.function, name);
}

}  // namespace

bool ReadNamed(const Call& call, const Parameter* parameters, int count) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(call.names); ++i) {
    PyObject* name = PyTuple_GET_ITEM(call.names, i);
    if (!Assign(call, name, call.args[call.nargs + i], parameters, count)) return false;
  }
  return true;
}

Failed RaiseTooMany(const Call& call, int positional) {
  return Raise(PyExc_TypeError, "%s() takes at most %d positional arguments, but got %zd.",
               call.function, positional, call.nargs);
}

Failed RaiseMissing(const Call& call, const Parameter& parameter) {
  return Raise(PyExc_TypeError, "%s() needs the argument '%s'.", call.function, parameter.name);
}

}  // namespace pax_tree
