// Static values: in the form in which they are compared, and copies of those that can change in
// place.
#include <cstring>

#include "record/spec.h"
#include "support/sequence.h"

namespace pax_tree {
namespace {

// (type, key): equal only for values of the same type.
PyObject* Tagged(PyObject* value, PyObject* key) {
  if (key == nullptr) return nullptr;
  PyObject* tagged = PyTuple_Pack(2, reinterpret_cast<PyObject*>(Py_TYPE(value)), key);
  Py_DECREF(key);
  return tagged;
}

// The bits of a number, so that 0.0 and -0.0 differ and NaN equals itself.
PyObject* FreezeComplex(PyObject* value) {
  double parts[2] = {PyComplex_RealAsDouble(value), PyComplex_ImagAsDouble(value)};
  char bytes[sizeof(parts)];
  std::memcpy(bytes, parts, sizeof(parts));
  return PyBytes_FromStringAndSize(bytes, sizeof(bytes));
}

// The frozen items of any iterable, in order.
PyObject* FreezeItems(PyObject* iterable) {
  Ref items(PySequence_Tuple(iterable));
  if (!items) return nullptr;
  return MakeTuple(PyTuple_GET_SIZE(items.get()),
                   [&](Py_ssize_t i) { return Freeze(PyTuple_GET_ITEM(items.get(), i)); });
}

PyObject* FreezeDict(PyObject* dict) {
  Ref items(PyDict_Items(dict));
  return items ? FreezeItems(items.get()) : nullptr;
}

PyObject* FreezeSet(PyObject* set) {
  Ref items(FreezeItems(set));
  return items ? PyFrozenSet_New(items.get()) : nullptr;
}

PyObject* ReturnSelf(PyObject* self, PyObject*) { return Py_NewRef(self); }
PyMethodDef identity_method = {"same", ReturnSelf, METH_NOARGS, nullptr};

// A value that cannot be hashed equals only itself. A built-in method bound to it is a key that
// holds the value and that compares and hashes by the value's identity.
PyObject* FreezeIdentity(PyObject* value) {
  if (!PyErr_ExceptionMatches(PyExc_TypeError)) return nullptr;
  PyErr_Clear();
  return PyCFunction_New(&identity_method, value);
}

PyObject* FreezeKey(PyObject* value) {
  if (PyFloat_CheckExact(value) || PyComplex_CheckExact(value)) return FreezeComplex(value);
  if (PyTuple_Check(value) || PyList_CheckExact(value)) return FreezeItems(value);
  if (PyDict_CheckExact(value)) return FreezeDict(value);
  if (PyAnySet_CheckExact(value)) return FreezeSet(value);
  if (PyObject_Hash(value) == -1) return FreezeIdentity(value);
  return Py_NewRef(value);
}

// Whether a change of the value, or of something inside it, can be seen through another reference.
bool CanChange(PyObject* value) {
  if (PyList_CheckExact(value) || PyDict_CheckExact(value) || PySet_CheckExact(value)) return true;
  if (!PyTuple_CheckExact(value)) return false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(value); ++i) {
    if (CanChange(PyTuple_GET_ITEM(value, i))) return true;
  }
  return false;
}

PyObject* SnapshotDict(PyObject* dict) {
  Ref copy(PyDict_Copy(dict));
  PyObject *key, *value;
  Py_ssize_t position = 0;
  while (copy && PyDict_Next(copy.get(), &position, &key, &value)) {
    if (!CanChange(value)) continue;
    Ref inner(Snapshot(value));
    if (!inner || PyDict_SetItem(copy.get(), key, inner.get()) < 0) return nullptr;
  }
  return copy.release();
}

// A copy first, for a list may change meanwhile.
PyObject* SnapshotItems(PyObject* sequence) {
  Ref items(PySequence_Tuple(sequence));
  auto item = [&items](Py_ssize_t i) { return Snapshot(PyTuple_GET_ITEM(items.get(), i)); };
  if (!items) return nullptr;
  Py_ssize_t size = PyTuple_GET_SIZE(items.get());
  return PyTuple_CheckExact(sequence) ? MakeTuple(size, item) : MakeList(size, item);
}

PyObject* SnapshotContainer(PyObject* value) {
  if (PyDict_CheckExact(value)) return SnapshotDict(value);
  if (PySet_CheckExact(value)) return PySet_New(value);
  return SnapshotItems(value);
}

}  // namespace

PyObject* Freeze(PyObject* value) {
  if (Py_EnterRecursiveCall(" while comparing a static attribute") != 0) return nullptr;
  PyObject* frozen = Tagged(value, FreezeKey(value));
  Py_LeaveRecursiveCall();
  return frozen;
}

PyObject* Snapshot(PyObject* value) {
  if (!CanChange(value)) return Py_NewRef(value);
  if (Py_EnterRecursiveCall(" while copying a static attribute") != 0) return nullptr;
  PyObject* copy = SnapshotContainer(value);
  Py_LeaveRecursiveCall();
  return copy;
}

}  // namespace pax_tree
