// The entries of a key path: DictKey, SequenceKey, GetAttrKey, FlattenedIndexKey.
#pragma once

#include <Python.h>

namespace pax_tree {

struct PathKey {
  PyObject_HEAD PyObject* value;
};

extern PyTypeObject* dict_key_type;
extern PyTypeObject* sequence_key_type;
extern PyTypeObject* get_attr_key_type;
extern PyTypeObject* flattened_index_key_type;

// A key of `type` over `value` (borrowed).
PyObject* MakeKey(PyTypeObject* type, PyObject* value);
PyObject* MakeIndexKey(PyTypeObject* type, Py_ssize_t index);

// A tuple of keys of `type`, one for each item of the tuple `values`.
PyObject* MakeKeys(PyTypeObject* type, PyObject* values);

bool InitKeys(PyObject* module);

}  // namespace pax_tree
