// Copying a structure with other leaves, in one pass.
#include "pax_tree/dm_rebuild.h"

namespace pax_tree::dm {

PyObject* Rebuild::Changed(PyObject* node) {
  PyErr_Format(PyExc_ValueError, "%s: an object of type %s changed while it was in use.", function_,
               Py_TYPE(node)->tp_name);
  return nullptr;
}

// What the children of another structure are read from: a dict by key, or all of them in order.
bool Rebuild::OpenOne(PyObject* object, Py_ssize_t size, PyObject** out) {
  Form form;
  if (!FormOf(object, &form)) return false;
  if (form.shape == Shape::kDict && same_keys_) return *out = Py_NewRef(object), true;
  Children children;
  if (!OpenValues(object, form, &children)) return false;
  if (children.size() != size) return Changed(object), false;
  *out = children.values.release();
  return true;
}

bool Rebuild::OpenRest(PyObject** column, Py_ssize_t size, Slots* rest) {
  if (count_ == 1) return true;
  if (!rest->Allocate(count_)) return false;
  for (Py_ssize_t k = 1; k < count_; ++k) {
    if (!OpenOne(column[k], size, &(*rest)[k])) return false;
  }
  return true;
}

// A child of another structure, a new reference.
static PyObject* ChildOf(PyObject* source, PyObject* key, Py_ssize_t i) {
  if (PyTuple_CheckExact(source)) return Py_NewRef(PyTuple_GET_ITEM(source, i));
  if (PyList_CheckExact(source)) return Py_NewRef(PyList_GET_ITEM(source, i));
  return PyObject_GetItem(source, key);
}

// The new child for one place, of a `value` that is held. `key` is of a dict, or null.
PyObject* Rebuild::Child(PyObject* value, PyObject* key, Py_ssize_t i, Slots* rest) {
  if (count_ == 1) {
    PyObject* column[2] = {nullptr, value};
    return Column(column + 1);
  }
  Slots column;
  if (!column.Allocate(count_)) return nullptr;
  column[0] = Py_NewRef(value);
  for (Py_ssize_t k = 1; k < count_; ++k) {
    column[k] = ChildOf((*rest)[k], key, i);
    if (column[k] == nullptr) return Changed((*rest)[k]);
  }
  return Column(column.data());
}

// Replaces the values of a dict that nothing else refers to.
bool Rebuild::Replace(PyObject* dict, PyObject* key, PyObject* value, Py_ssize_t i, Slots* rest) {
  Ref keep_key = Ref::Borrow(key), keep = Ref::Borrow(value);
  Ref result(Child(value, key, i, rest));
  return result && PyDict_SetItem(dict, key, result.get()) == 0;
}

bool Rebuild::ReplaceAll(PyObject* dict, const SortedKeys& sorted, Slots* rest) {
  Py_ssize_t at = 0, i = 0;
  PyObject *key, *value;
  if (sorted.as_inserted) {
    while (PyDict_Next(dict, &at, &key, &value)) {
      if (!Replace(dict, key, value, i++, rest)) return false;
    }
    return true;
  }
  for (; i < PyTuple_GET_SIZE(sorted.keys.get()); ++i) {
    key = PyTuple_GET_ITEM(sorted.keys.get(), i);
    value = PyDict_GetItemWithError(dict, key);
    if (value == nullptr || !Replace(dict, key, value, i, rest)) return false;
  }
  return true;
}

// The copy of the dict keeps the children and the order of the keys.
PyObject* Rebuild::Dict(PyObject** column) {
  Ref copy(PyDict_Copy(column[0]));
  SortedKeys sorted;
  Slots rest;
  if (!copy || !SortKeys(copy.get(), &sorted)) return nullptr;
  Py_ssize_t size = PyDict_GET_SIZE(copy.get());
  if (!OpenRest(column, size, &rest) || !ReplaceAll(copy.get(), sorted, &rest)) return nullptr;
  return PyDict_GET_SIZE(column[0]) == size ? copy.release() : Changed(column[0]);
}

PyObject* Rebuild::Sequence(PyObject** column, bool tuple) {
  PyObject* source = column[0];
  Py_ssize_t size = PySequence_Fast_GET_SIZE(source);
  Slots results, rest;
  if (!results.Allocate(size) || !OpenRest(column, size, &rest)) return nullptr;
  for (Py_ssize_t i = 0; i < size; ++i) {
    if (PySequence_Fast_GET_SIZE(source) != size) return Changed(source);
    Ref item = ItemOf(source, i);
    if (!item) return Changed(source);
    results[i] = Child(item.get(), nullptr, i, &rest);
    if (results[i] == nullptr) return nullptr;
  }
  if (PySequence_Fast_GET_SIZE(source) != size) return Changed(source);
  return tuple ? BuildTuple(results.data(), size) : BuildList(results.data(), size);
}

PyObject* Rebuild::Other(PyObject** column, Form form) {
  Children opened;
  Slots results, rest;
  if (!OpenValues(column[0], form, &opened)) return nullptr;
  if (!results.Allocate(opened.size()) || !OpenRest(column, opened.size(), &rest)) return nullptr;
  for (Py_ssize_t i = 0; i < opened.size(); ++i) {
    Ref key(opened.Key(i));
    results[i] = key ? Child(opened[i], key.get(), i, &rest) : nullptr;
    if (results[i] == nullptr) return nullptr;
  }
  return BuildLike(column[0], form, opened, results.data());
}

PyObject* Rebuild::Node(PyObject** column, Form form) {
  DepthGuard guard(&depth_);
  if (!guard) return nullptr;
  if (form.shape == Shape::kDict) return Dict(column);
  if (form.shape == Shape::kList) return Sequence(column, false);
  if (form.shape == Shape::kTuple) return Sequence(column, true);
  return Other(column, form);
}

PyObject* Rebuild::Column(PyObject** column) {
  Form form;
  if (!FormOf(column[0], &form)) return nullptr;
  return form.nested ? Node(column, form) : Leaf(column);
}

}  // namespace pax_tree::dm
