// Trees as dm-tree sees them: what is a node, how it is taken apart and put together.
#pragma once

#include <Python.h>

#include <cstdint>

#include "core/walk.h"
#include "support/arguments.h"
#include "support/ref.h"

namespace pax_tree::dm {

enum class Shape : uint8_t {
  kTuple,  // these three exactly, not subclasses
  kList,
  kDict,
  kMapping,
  kView,  // of a mapping
  kAttrs,
  kNamedTuple,
  kSequence,  // and what is only iterated when it must be
};

// How an object is seen.
struct Form {
  Shape shape = Shape::kSequence;
  bool nested = false;  // is_nested
  bool keyed = false;   // a node for the functions with paths and up to a structure
  bool proxy = false;   // a wrapt.ObjectProxy

  bool Set(Form other) {
    *this = other;
    return true;
  }
};

// False with an error set. Runs Python code only for classes not seen before, and proxies.
bool FormOfOther(PyObject* object, Form* form);
inline bool FormOf(PyObject* object, Form* form) {
  PyTypeObject* type = Py_TYPE(object);
  if (type == &PyDict_Type) return form->Set({Shape::kDict, true, true});
  if (type == &PyList_Type) return form->Set({Shape::kList, true, true});
  if (type == &PyTuple_Type) return form->Set({Shape::kTuple, true, true});
  if (type == &PyFloat_Type || type == &PyLong_Type || type == &PyUnicode_Type) {
    return form->Set(Form());
  }
  return FormOfOther(object, form);
}

// Whether both are named tuples with the same fields and class name. -1 with an error set.
int SameNamedTuples(PyObject* a, PyObject* b);
// Whether the class of this tuple is a named tuple made directly from `tuple`.
int IsPlainNamedTuple(PyObject* object);
// The object, or what a proxy stands for; a new reference.
PyObject* Unwrapped(PyObject* object, Form form);

// A node taken apart: the children do not change when the node does.
struct Children {
  Ref keys;    // tuple or list of path keys; null for indices
  Ref values;  // tuple or list

  Py_ssize_t size() const { return PySequence_Fast_GET_SIZE(values.get()); }
  PyObject* operator[](Py_ssize_t i) const { return PySequence_Fast_GET_ITEM(values.get(), i); }
  PyObject* Key(Py_ssize_t i) const {  // a new reference
    if (!keys) return PyLong_FromSsize_t(i);
    return Py_NewRef(PySequence_Fast_GET_ITEM(keys.get(), i));
  }
};

// The children in the order of the leaves, dicts and tuples read directly; keys only of mappings
// and attrs classes.
bool OpenValues(PyObject* object, Form form, Children* children);
// The same through the object's own `__iter__`, `__getitem__` and attributes, with the keys of
// paths. Takes any iterable.
bool OpenItems(PyObject* object, Form form, Children* children);

// Whether the keys of a dict's KeyOrder are sorted; false with TypeError set if they do not sort.
bool CheckSorted(PyObject* order);

// An item of a list or tuple; null if a list has shrunk meanwhile.
inline Ref ItemOf(PyObject* sequence, Py_ssize_t i) {
#ifdef Py_GIL_DISABLED
  if (PyList_Check(sequence)) {
    Ref item(PyList_GetItemRef(sequence, i));
    if (!item) PyErr_Clear();
    return item;
  }
#endif
  return Ref::Borrow(PySequence_Fast_GET_ITEM(sequence, i));
}
// Puts a node like `like` together; takes the children, in the order of the leaves, from `items`.
PyObject* BuildLike(PyObject* like, Form form, const Children& opened, PyObject** items);

// Raises `type` with "function: what (at path)"; `place` holds the path's keys, the last one first.
void RaiseAt(PyObject* type, const char* function, const std::vector<Ref>& place,
             const std::string& what);
// "a dict of 2 elements", "a leaf of type int"
std::string DescribeForm(PyObject* object, Form form);
// Turns the pending error into the cause of a new one.
void RaiseFrom(PyObject* type, const std::string& what);

// Checks as assert_same_structure does. False with an error set.
bool CheckSame(const char* function, PyObject* a, PyObject* b, bool check_types);
// The leaves, a list.
PyObject* Flatten(PyObject* structure);
// The structure filled with the items of a sequence.
PyObject* UnflattenAs(const char* function, PyObject* structure, PyObject* flat);

// Checks as assert_shallow_structure does; `path` is above the root, or null.
bool CheckShallow(const char* function, PyObject* shallow, PyObject* input, PyObject* path,
                  bool check_types);
// Reads `check_types=` among the keywords. ValueError for any other.
bool ReadCheckTypes(const Call& call, bool* check_types);

extern PyObject* map_to_none;
bool InitForms();
extern PyMethodDef flatten_methods[];
extern PyMethodDef map_methods[];
extern PyMethodDef compare_methods[];
extern PyMethodDef up_to_methods[];
extern PyMethodDef traverse_methods[];

// Adds the functions to the extension module, with "dm_" before their names.
bool Init(PyObject* module);

}  // namespace pax_tree::dm
