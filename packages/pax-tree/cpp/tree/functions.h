// The module's functions on trees.
#pragma once

#include <Python.h>

namespace pax_tree {

extern PyMethodDef flatten_methods[];
extern PyMethodDef unflatten_methods[];
extern PyMethodDef path_methods[];
extern PyMethodDef map_methods[];
extern PyMethodDef record_methods[];

// A function called by vectorcall, without or with keywords, as a method table wants it.
inline PyCFunction FastCall(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}
inline PyCFunction FastCall(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t,
                                                  PyObject*)) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}

}  // namespace pax_tree
