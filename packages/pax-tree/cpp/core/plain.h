// The children of an exact tuple, list or dict, taken without detours.
#pragma once

#include "core/node.h"
#include "dict/key_order.h"
#include "support/errors.h"
#include "support/threads.h"

namespace pax_tree {

inline bool IsPlain(Kind kind) {
  return kind == Kind::kDict || kind == Kind::kList || kind == Kind::kTuple;
}

inline Py_ssize_t PlainSize(PyObject* object, Kind kind) {
  return kind == Kind::kDict ? PyDict_GET_SIZE(object) : Py_SIZE(object);
}

inline bool TakeTuple(PyObject* tuple, PyObject** out, Py_ssize_t stride) {
  Py_ssize_t n = PyTuple_GET_SIZE(tuple);
  for (Py_ssize_t i = 0; i < n; ++i) out[i * stride] = Py_NewRef(PyTuple_GET_ITEM(tuple, i));
  return true;
}

// False, with nothing written, if the list has not `size` items.
inline bool TakeList(PyObject* list, Py_ssize_t size, PyObject** out, Py_ssize_t stride) {
  CriticalSection section(list);
  if (PyList_GET_SIZE(list) != size) return false;
  for (Py_ssize_t i = 0; i < size; ++i) out[i * stride] = Py_NewRef(PyList_GET_ITEM(list, i));
  return true;
}

// Raises the error for a container that changed under the hands of a walk.
Failed RaiseChanged(PyObject* container);

// Writes new references to the `size` children to out[0], out[stride], ..., and the KeyOrder of a
// dict, a new reference, to `data`.
inline bool TakePlain(PyObject* object, Kind kind, Py_ssize_t size, PyObject** out,
                      Py_ssize_t stride, PyObject** data) {
  if (kind == Kind::kDict) {
    *data = TakeDict(object, size, out, stride);
    return *data != nullptr;
  }
  if (kind == Kind::kTuple) return TakeTuple(object, out, stride);
  return TakeList(object, size, out, stride) || RaiseChanged(object);
}

}  // namespace pax_tree
