// The keys of a dict in the order of its leaves and in the order in which they were inserted.
#pragma once

#include <Python.h>

#include <cstdint>

namespace pax_tree {

struct KeyOrder {
  PyObject_HEAD PyObject* sorted;  // tuple: the order of the leaves
  PyObject* inserted;              // tuple: the order of the dict
  PyObject* path_keys;             // tuple of DictKey in sorted order; made when first asked for
  uint32_t* position;              // inserted[j] == sorted[position[j]]; null when both are equal
};

extern PyTypeObject* key_order_type;

inline KeyOrder* AsOrder(PyObject* object) { return reinterpret_cast<KeyOrder*>(object); }
inline Py_ssize_t PositionOf(const KeyOrder* order, Py_ssize_t inserted) {
  return order->position == nullptr ? inserted : order->position[inserted];
}

// The order of a dict's keys: sorted, or as inserted when they do not compare. Orders of dicts with
// the same str keys are remembered.
PyObject* OrderOfDict(PyObject* dict);
// The order of these keys (a tuple) as they are.
PyObject* OrderAsGiven(PyObject* keys);
// The order of keys inserted like `inserted` with leaves like `sorted`; for unpickling.
PyObject* OrderOfTuples(PyObject* sorted, PyObject* inserted);

// The DictKeys of an order, borrowed.
PyObject* PathKeysOf(KeyOrder* order);

bool InitKeyOrder();

}  // namespace pax_tree
