// Making a dict out of an order of keys and the values in that order.
#pragma once

#include "dict/key_order.h"
#include "support/compat.h"
#include "support/ref.h"

namespace pax_tree {

// Whether copying a blank dict costs less than setting the items of a new one.
inline bool IsWorthCopying(const KeyOrder* order) {
  return dict_layout_known && order->only_str && NumKeys(order) >= 2;
}

// Lets the garbage collector see a copy of a blank dict that now holds objects it must follow.
inline void TrackCopy(PyObject* dict) {
  if (!dict_copies_are_tracked) PyObject_GC_Track(dict);
}

// Puts values, given as new references by `value(place)`, into a new copy of the blank dict. Runs
// no Python code.
template <typename Value>
void PlaceValues(PyObject* blank, const KeyOrder* order, Value value) {
  DictEntry* entries = DictEntries(blank);
  bool collected = false;
  Py_ssize_t n = NumKeys(order);
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* item = value(PositionOf(order, i));
    collected |= PyType_IS_GC(Py_TYPE(item)) != 0;
    Py_DECREF(std::exchange(entries[i].value, item));
  }
  if (collected) TrackCopy(blank);
}

}  // namespace pax_tree
