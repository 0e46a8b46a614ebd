// Copies of static values that can change in place.
#include "record/spec.h"

namespace pax_tree {
namespace {

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

PyObject* SnapshotItems(PyObject* sequence) {
  Ref copy(PySequence_List(sequence));
  for (Py_ssize_t i = 0; copy && i < PyList_GET_SIZE(copy.get()); ++i) {
    PyObject* inner = Snapshot(PyList_GET_ITEM(copy.get(), i));
    if (inner == nullptr) return nullptr;
    PyList_SetItem(copy.get(), i, inner);
  }
  return copy.release();
}

PyObject* SnapshotContainer(PyObject* value) {
  if (PyDict_CheckExact(value)) return SnapshotDict(value);
  if (PySet_CheckExact(value)) return PySet_New(value);
  Ref items(SnapshotItems(value));
  return PyTuple_CheckExact(value) && items ? PyList_AsTuple(items.get()) : items.release();
}

}  // namespace

PyObject* Snapshot(PyObject* value) {
  if (!CanChange(value)) return Py_NewRef(value);
  if (Py_EnterRecursiveCall(" while copying a static attribute") != 0) return nullptr;
  PyObject* copy = SnapshotContainer(value);
  Py_LeaveRecursiveCall();
  return copy;
}

}  // namespace pax_tree
