// Making tuples and lists item by item; and objects of Python modules.
#pragma once

#include "support/ref.h"

namespace pax_tree {

// A tuple of the new references that `item(i)` gives; null when one of them is.
template <typename Item>
PyObject* MakeTuple(Py_ssize_t size, Item item) {
  Ref tuple(PyTuple_New(size));
  for (Py_ssize_t i = 0; tuple && i < size; ++i) {
    PyObject* next = item(i);
    if (next == nullptr) return nullptr;
    PyTuple_SET_ITEM(tuple.get(), i, next);
  }
  return tuple.release();
}

// The same as a list.
template <typename Item>
PyObject* MakeList(Py_ssize_t size, Item item) {
  Ref list(PyList_New(size));
  for (Py_ssize_t i = 0; list && i < size; ++i) {
    PyObject* next = item(i);
    if (next == nullptr) return nullptr;
    PyList_SET_ITEM(list.get(), i, next);
  }
  return list.release();
}

// The first items of an iterable, of which there may be no end, as a list.
inline PyObject* FirstItems(PyObject* iterable, Py_ssize_t most) {
  Ref iterator(PyObject_GetIter(iterable)), list(iterator ? PyList_New(0) : nullptr);
  while (list && PyList_GET_SIZE(list.get()) < most) {
    Ref item(PyIter_Next(iterator.get()));
    if (!item) return PyErr_Occurred() ? nullptr : list.release();
    if (PyList_Append(list.get(), item.get()) < 0) return nullptr;
  }
  return list.release();
}

// The same as a tuple.
inline PyObject* FirstAsTuple(PyObject* iterable, Py_ssize_t most) {
  Ref items(FirstItems(iterable, most));
  return items ? PyList_AsTuple(items.get()) : nullptr;
}

// What a module has under a name.
inline PyObject* Import(const char* module, const char* name) {
  Ref found(PyImport_ImportModule(module));
  return found ? PyObject_GetAttrString(found.get(), name) : nullptr;
}

// What a slot holds, which is null from then on.
inline PyObject* Take(PyObject** slot) { return std::exchange(*slot, nullptr); }

// The items of slots, which are null from then on.
inline PyObject* TupleOf(PyObject** items, Py_ssize_t size) {
  return MakeTuple(size, [items](Py_ssize_t i) { return Take(&items[i]); });
}
inline PyObject* ListOf(PyObject** items, Py_ssize_t size) {
  return MakeList(size, [items](Py_ssize_t i) { return Take(&items[i]); });
}

}  // namespace pax_tree
