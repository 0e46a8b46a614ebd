// The keys of a dict in the order of its leaves and in the order in which they were inserted.
#pragma once

#include <Python.h>

#include <cstdint>

#include "support/threads.h"

namespace pax_tree {

struct KeyOrder {
  PyObject_HEAD PyObject* sorted;  // tuple: the order of the leaves
  PyObject* inserted;              // tuple: the order of the dict
  PyObject* path_keys;             // tuple of DictKey in sorted order; made when first asked for
  PyObject* blank;                 // dict of the keys, if all are str; made when first asked for
  // Of n keys: inserted[j] == sorted[position[j]], and sorted[i] == inserted[position[n + i]]. Null
  // when both orders are equal.
  uint32_t* position;
  bool only_str;    // whether every key is exactly a str
  bool by_content;  // whether the keys do not compare, or only some of them
  Mutex mutex;      // of what is made when first asked for
};

extern PyTypeObject* key_order_type;

inline KeyOrder* AsOrder(PyObject* object) { return reinterpret_cast<KeyOrder*>(object); }
inline Py_ssize_t NumKeys(const KeyOrder* order) { return PyTuple_GET_SIZE(order->inserted); }
inline Py_ssize_t PositionOf(const KeyOrder* order, Py_ssize_t inserted) {
  return order->position == nullptr ? inserted : order->position[inserted];
}
inline Py_ssize_t InsertedAt(const KeyOrder* order, Py_ssize_t sorted) {
  return order->position == nullptr ? sorted : order->position[NumKeys(order) + sorted];
}

// The order of a dict's keys: sorted, or by their contents when they do not all compare. It depends
// on the keys alone. Orders of dicts with the same str keys are remembered (order_cache.cc).
PyObject* OrderOfDict(PyObject* dict);
// The same, and new references to the dict's `size` values in that order to out[0], out[stride],
// ...
PyObject* TakeDict(PyObject* dict, Py_ssize_t size, PyObject** out, Py_ssize_t stride);
// Writes the values out if the dict has the keys of `order`, in its order of insertion; else false
// without an error. Keys are the same objects, or equal str.
bool TakeValues(PyObject* dict, const KeyOrder* order, PyObject** out, Py_ssize_t stride);

// The order of these keys (a tuple) by sorting them.
PyObject* SortedOrder(PyObject* keys);
// The order of these keys (a tuple) as they are.
PyObject* OrderAsGiven(PyObject* keys);
// The order of keys inserted like `inserted` with leaves like `sorted`; for unpickling.
PyObject* OrderOfTuples(PyObject* sorted, PyObject* inserted);

// The DictKeys of an order, borrowed.
PyObject* PathKeysOf(KeyOrder* order);
// A new dict of the keys with values to be replaced; the keys must be str.
PyObject* BlankDict(KeyOrder* order);

bool InitKeyOrder();

}  // namespace pax_tree
