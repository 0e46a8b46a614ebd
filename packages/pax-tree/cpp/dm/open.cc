// Taking nodes apart as dm-tree does.
#include "core/parts.h"
#include "dict/key_order.h"
#include "dm/dm.h"
#include "support/errors.h"
#include "support/sequence.h"

namespace pax_tree::dm {
namespace {

void RaiseUnsortable(PyObject* keys) {
  if (!PyErr_ExceptionMatches(PyExc_TypeError)) return;
  HeldError error;
  std::string text = SafeRepr(keys);
  error.Restore();
  RaiseFrom(PyExc_TypeError, "The keys of a mapping must sort, but these do not: " + text +
                                 ". Use keys of one type.");
}

// A sorted list of the keys; steals `keys`, which is a new list.
PyObject* Sorted(PyObject* keys) {
  Ref list(keys);
  if (list && PyList_Sort(list.get()) < 0) {
    RaiseUnsortable(list.get());
    return nullptr;
  }
  return list.release();
}

bool LookUpAll(PyObject* mapping, Children* children) {
  if (!children->keys) return false;
  Py_ssize_t n = PySequence_Fast_GET_SIZE(children->keys.get());
  children->values = Ref(PyList_New(0));
  for (Py_ssize_t i = 0; children->values && i < n; ++i) {
    Ref key = Ref::Borrow(PySequence_Fast_GET_ITEM(children->keys.get(), i));
    Ref value(PyObject_GetItem(mapping, key.get()));
    if (!value || PyList_Append(children->values.get(), value.get()) < 0) return false;
  }
  return static_cast<bool>(children->values);
}

// Reads a dict, or an object of a subclass as if it were one.
bool OpenDict(PyObject* dict, Children* children) {
  Py_ssize_t size = PyDict_GET_SIZE(dict);
  SlotArray<23> values;
  if (!values.Allocate(size)) return false;
  Ref order(TakeDict(dict, size, values.data(), 1));
  if (!order || !CheckSorted(order.get())) return false;
  children->keys = Ref::Borrow(AsOrder(order.get())->sorted);
  children->values = Ref(TupleOf(values.data(), size));
  return static_cast<bool>(children->values);
}

bool OpenMapping(PyObject* mapping, bool by_keys_method, Children* children) {
  PyObject* keys = by_keys_method ? PyMapping_Keys(mapping) : PySequence_List(mapping);
  children->keys = Ref(Sorted(keys));
  return LookUpAll(mapping, children);
}

bool ReadAttributes(PyObject* object, Children* children) {
  if (!children->keys) return false;
  children->values = Ref(PyList_New(0));
  for (Py_ssize_t i = 0; children->values && i < PyList_GET_SIZE(children->keys.get()); ++i) {
    Ref value(PyObject_GetAttr(object, PyList_GET_ITEM(children->keys.get(), i)));
    if (!value || PyList_Append(children->values.get(), value.get()) < 0) return false;
  }
  return static_cast<bool>(children->values);
}

PyObject* AttrsNames(PyObject* object) {
  Ref cls(PyObject_GetAttrString(object, "__class__"));
  Ref fields(cls ? PyObject_GetAttrString(cls.get(), "__attrs_attrs__") : nullptr);
  Ref list(fields ? PySequence_List(fields.get()) : nullptr), names(list ? PyList_New(0) : nullptr);
  for (Py_ssize_t i = 0; names && i < PyList_GET_SIZE(list.get()); ++i) {
    Ref name(PyObject_GetAttrString(PyList_GET_ITEM(list.get(), i), "name"));
    if (!name || PyList_Append(names.get(), name.get()) < 0) return nullptr;
  }
  return names.release();
}

bool OpenAttrs(PyObject* object, Children* children) {
  children->keys = Ref(AttrsNames(object));
  return ReadAttributes(object, children);
}

bool OpenNamedTuple(PyObject* object, Children* children) {
  Ref fields(PyObject_GetAttrString(object, "_fields"));
  children->keys = Ref(fields ? PySequence_List(fields.get()) : nullptr);
  return ReadAttributes(object, children);
}

bool OpenSequence(PyObject* object, Children* children) {
  bool tuple = PyTuple_CheckExact(object);
  children->values = Ref(tuple ? Py_NewRef(object) : PySequence_List(object));
  return static_cast<bool>(children->values);
}

}  // namespace

bool CheckSorted(PyObject* order) {
  KeyOrder* found = AsOrder(order);
  return !found->by_content || static_cast<bool>(Ref(Sorted(PySequence_List(found->inserted))));
}

bool OpenValues(PyObject* object, Form form, Children* children) {
  switch (form.shape) {
    case Shape::kDict: return OpenDict(object, children);
    case Shape::kMapping:
      if (PyDict_Check(object)) return OpenDict(object, children);
      return OpenMapping(object, true, children);
    case Shape::kAttrs: return OpenAttrs(object, children);
    default: return OpenSequence(object, children);
  }
}

bool OpenItems(PyObject* object, Form form, Children* children) {
  switch (form.shape) {
    case Shape::kDict: return OpenDict(object, children);
    case Shape::kMapping: return OpenMapping(object, false, children);
    case Shape::kAttrs: return OpenAttrs(object, children);
    case Shape::kNamedTuple: return OpenNamedTuple(object, children);
    default: return OpenSequence(object, children);
  }
}

}  // namespace pax_tree::dm
