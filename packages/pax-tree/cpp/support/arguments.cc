// Reading arguments; functions and types of the module.
#include "support/arguments.h"

#include <string>

#include "support/errors.h"
#include "support/ref.h"

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

bool AddFunctions(PyObject* module, const char* package, const char* prefix, PyMethodDef* methods) {
  Ref owner(PyUnicode_FromString(package));
  for (; owner && methods->ml_name != nullptr; ++methods) {
    Ref function(PyCFunction_NewEx(methods, module, owner.get()));
    std::string name = std::string(prefix) + methods->ml_name;
    if (!function || PyModule_AddObjectRef(module, name.c_str(), function.get()) < 0) return false;
  }
  return static_cast<bool>(owner);
}

PyTypeObject* AddType(PyObject* module, PyType_Spec* spec) {
  Ref type(PyType_FromSpec(spec));
  if (!type) return nullptr;
  if (PyModule_AddType(module, reinterpret_cast<PyTypeObject*>(type.get())) < 0) return nullptr;
  return reinterpret_cast<PyTypeObject*>(type.release());
}

}  // namespace pax_tree
