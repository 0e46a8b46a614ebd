// What differs between versions of Python: newer ones give new references instead of borrowed ones.
#pragma once

#include <Python.h>

namespace pax_tree {

// The value under a key, a new reference; null without an error if there is none.
inline PyObject* LookUp(PyObject* dict, PyObject* key) {
#if PY_VERSION_HEX >= 0x030D0000
  PyObject* value;
  return PyDict_GetItemRef(dict, key, &value) < 0 ? nullptr : value;
#else
  return Py_XNewRef(PyDict_GetItemWithError(dict, key));
#endif
}

// What a weak reference refers to, a new reference; null without an error if it is gone.
inline PyObject* Referent(PyObject* weak) {
#if PY_VERSION_HEX >= 0x030D0000
  PyObject* object;
  return PyWeakref_GetRef(weak, &object) < 0 ? nullptr : object;
#else
  PyObject* object = PyWeakref_GetObject(weak);
  return object == Py_None ? nullptr : Py_NewRef(object);
#endif
}

// What a class or one of its bases has under a name, a new reference; null if they have nothing.
inline PyObject* LookUpInClass(PyTypeObject* type, PyObject* name) {
#ifdef Py_GIL_DISABLED
  return _PyType_LookupRef(type, name);
#else
  return Py_XNewRef(_PyType_Lookup(type, name));
#endif
}

}  // namespace pax_tree
