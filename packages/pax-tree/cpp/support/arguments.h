// The functions and types that the module offers, and reading the arguments of functions.
#pragma once

#include <Python.h>

#include "support/errors.h"

namespace pax_tree {

// A call of a function by vectorcall.
struct Call {
  const char* function;
  PyObject* const* args;
  Py_ssize_t nargs;
  PyObject* names;  // of the keywords, whose values follow the arguments; may be null
};

// One named parameter and where its value goes (borrowed; unchanged when not given).
struct Parameter {
  const char* name;
  PyObject** value;
};

bool ReadNamed(const Call& call, const Parameter* parameters, int count);
Failed RaiseTooMany(const Call& call, int positional);
Failed RaiseMissing(const Call& call, const Parameter& parameter);

// Gives the first `positional` parameters the positional arguments, and all of them the keywords.
// Arguments beyond those are left to the caller when `variadic`. False with TypeError set.
template <int count>
bool Read(const Call& call, const Parameter (&parameters)[count], int positional, int required,
          bool variadic = false) {
  if (call.nargs > positional && !variadic) return RaiseTooMany(call, positional);
  for (int i = 0; i < positional && i < call.nargs; ++i) *parameters[i].value = call.args[i];
  if (call.names != nullptr && !ReadNamed(call, parameters, count)) return false;
  for (int i = 0; i < required; ++i) {
    if (*parameters[i].value == nullptr) return RaiseMissing(call, parameters[i]);
  }
  return true;
}

// The truth of an object; `otherwise` for null, -1 with an error set.
inline int Truth(PyObject* object, bool otherwise) {
  return object == nullptr ? otherwise : PyObject_IsTrue(object);
}

template <typename Function>
PyCFunction AsMethod(Function* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}

template <PyObject* (*function)(const Call&)>
const char* function_name = nullptr;

template <PyObject* (*function)(const Call&)>
PyObject* CallByName(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return function({function_name<function>, args, nargs, names});
}

// The entry of a method table for a function of a Call.
template <PyObject* (*function)(const Call&)>
PyMethodDef Method(const char* name, const char* doc) {
  function_name<function> = name;
  return {name, AsMethod(CallByName<function>), METH_FASTCALL | METH_KEYWORDS, doc};
}

// Adds functions to the module, under their names after `prefix`; they say that they are of the
// package, so that help, doctest and pickle find them there.
bool AddFunctions(PyObject* module, const char* package, const char* prefix, PyMethodDef* methods);

// Adds a type to the module, under the last part of its name; null with an error set.
PyTypeObject* AddType(PyObject* module, PyType_Spec* spec);

}  // namespace pax_tree
