// Reading and writing the attributes of a record.
#include "pax_tree/record.h"

namespace pax_tree {

PyObject* RecordGetAttr(PyObject* self, PyObject* name) {
  if (!FillDict(reinterpret_cast<Record*>(self))) return nullptr;
  return PyObject_GenericGetAttr(self, name);
}

namespace {

bool HasChildren(Record* self) {
  if (self->children != nullptr) return true;
  PyErr_SetString(PyExc_ReferenceError, "The record is being collected as garbage.");
  return false;
}

// Changes one item of the children: in place when nobody else has the tuple.
bool ReplaceChild(Record* self, Py_ssize_t at, PyObject* value) {
  if (Py_REFCNT(self->children) == 1) {
    PyObject* old = PyTuple_GET_ITEM(self->children, at);
    PyTuple_SET_ITEM(self->children, at, Py_NewRef(value));
    if (!PyObject_GC_IsTracked(self->children)) PyObject_GC_Track(self->children);
    Py_DECREF(old);
    return true;
  }
  Py_ssize_t n = PyTuple_GET_SIZE(self->children);
  PyObject* copy = PyTuple_New(n);
  if (copy == nullptr) return false;
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* item = i == at ? value : PyTuple_GET_ITEM(self->children, i);
    PyTuple_SET_ITEM(copy, i, Py_NewRef(item));
  }
  Py_SETREF(self->children, copy);
  return true;
}

// The children with `value` at the end, or without the one at `drop` (then `value` is null).
PyObject* ResizedChildren(PyObject* children, Py_ssize_t drop, PyObject* value) {
  Py_ssize_t n = PyTuple_GET_SIZE(children), to = 0;
  PyObject* resized = PyTuple_New(n - (drop >= 0 ? 1 : 0) + (value != nullptr ? 1 : 0));
  if (resized == nullptr) return nullptr;
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (i != drop) PyTuple_SET_ITEM(resized, to++, Py_NewRef(PyTuple_GET_ITEM(children, i)));
  }
  if (value != nullptr) PyTuple_SET_ITEM(resized, to, Py_NewRef(value));
  return resized;
}

// The attribute dict stays in step; a failure leaves spec and children as they were.
bool Install(Record* self, PyObject* name, PyObject* value, RecordSpec* spec, PyObject* children) {
  Ref held_spec(AsObject(spec)), held_children(children);
  if (spec == nullptr || children == nullptr || !FillDict(self)) return false;
  if (PyDict_SetItem(self->dict, name, value) < 0) return false;
  Ref old_spec(AsObject(self->spec)), old_children(self->children);
  self->spec = AsSpec(held_spec.release());
  self->children = held_children.release();
  return true;
}

bool SetExistingChild(Record* self, Py_ssize_t at, PyObject* name, PyObject* value) {
  if (self->dict != nullptr && PyDict_SetItem(self->dict, name, value) < 0) return false;
  return ReplaceChild(self, at, value);
}

bool SetChild(Record* self, Py_ssize_t at, PyObject* name, PyObject* value, int kind) {
  Ref spec(AsObject(SpecWithChild(self->spec, name, kind)));
  if (!spec) return false;
  if (at >= 0) {
    Ref old(AsObject(self->spec));
    self->spec = AsSpec(spec.release());
    return SetExistingChild(self, at, name, value);
  }
  PyObject* children = ResizedChildren(self->children, -1, value);
  return Install(self, name, value, AsSpec(spec.release()), children);
}

bool SetStatic(Record* self, Py_ssize_t at, PyObject* name, PyObject* value) {
  Ref own(Snapshot(value));
  Ref spec(own ? AsObject(SpecWithStatic(self->spec, name, own.get())) : nullptr);
  if (!spec) return false;
  PyObject* children =
      at >= 0 ? ResizedChildren(self->children, at, nullptr) : Py_NewRef(self->children);
  return Install(self, name, value, AsSpec(spec.release()), children);
}

PyObject* InternedName(PyObject* name) {
  if (!PyUnicode_CheckExact(name)) return PyUnicode_FromObject(name);
  Py_INCREF(name);
  PyUnicode_InternInPlace(&name);
  return name;
}

bool RefuseDelete(PyObject* self, PyObject* name) {
  PyErr_Format(PyExc_AttributeError,
               "%s.%S cannot be deleted, because the attributes of a record are its structure; "
               "assign None instead.",
               Py_TYPE(self)->tp_name, name);
  return false;
}

// What the class says about a new name: a kind, kStatic, or -2 with an error set.
int AskKind(PyObject* self, PyObject* name, PyObject* value) {
  PyTypeObject* type = Py_TYPE(self);
  if (type == record_type) return kStatic;
  Ref hook(PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "_classify"));
  if (!hook) return -2;
  Ref kind(PyObject_CallFunctionObjArgs(hook.get(), self, name, value, nullptr));
  if (!kind) return -2;
  if (kind.get() == Py_None) return kStatic;
  long number = PyLong_Check(kind.get()) ? PyLong_AsLong(kind.get()) : -1;
  if (number >= 0 && number <= 255) return static_cast<int>(number);
  PyErr_Format(PyExc_TypeError,
               "%s._classify(%R, ...) must return None or an int from 0 to 255, but returned %R.",
               type->tp_name, name, kind.get());
  return -2;
}

// A property or another data descriptor of the class takes the write itself.
descrsetfunc DataDescriptor(PyObject* self, PyObject* name, Ref* descriptor) {
  *descriptor = Ref::Borrow(_PyType_Lookup(Py_TYPE(self), name));
  return *descriptor ? Py_TYPE(descriptor->get())->tp_descr_set : nullptr;
}

bool SetAny(PyObject* self, PyObject* name, PyObject* value) {
  auto* record = reinterpret_cast<Record*>(self);
  if (!HasChildren(record) || !CheckScope(record, name)) return false;
  Py_ssize_t at = FindChild(record->spec, name);
  if (at == -2) return false;
  if (at >= 0) return SetExistingChild(record, at, name, value);
  int kind = AskKind(self, name, value);
  return kind != -2 && SetAttribute(record, name, value, kind);
}

}  // namespace

bool SetAttribute(Record* self, PyObject* name, PyObject* value, int kind) {
  if (!HasChildren(self)) return false;
  Py_ssize_t at = FindChild(self->spec, name);
  if (at == -2) return false;
  if (kind == kStatic) return SetStatic(self, at, name, value);
  if (at >= 0 && KindAt(self->spec, at) == kind) return SetExistingChild(self, at, name, value);
  return SetChild(self, at, name, value, kind);
}

int RecordSetAttr(PyObject* self, PyObject* name, PyObject* value) {
  if (!PyUnicode_Check(name)) {
    PyErr_Format(PyExc_TypeError, "An attribute name must be a str, but got %R.", name);
    return -1;
  }
  Ref owned(InternedName(name)), descriptor;
  if (!owned) return -1;
  if (descrsetfunc set = DataDescriptor(self, owned.get(), &descriptor)) {
    return set(descriptor.get(), self, value);
  }
  if (value == nullptr) return RefuseDelete(self, name), -1;
  return SetAny(self, owned.get(), value) ? 0 : -1;
}

}  // namespace pax_tree
