// Taking nodes apart.
#include "support/cpython.h"
#include "dict/key_order.h"
#include "core/parts.h"
#include "core/plain.h"
#include "record/record.h"

namespace pax_tree {

PyObject* OrderObject(Kind kind, PyObject* data) {
  return kind == Kind::kDefaultDict ? PyTuple_GET_ITEM(data, 1) : data;
}

namespace {

bool OpenDict(PyObject* dict, Parts* parts) {
  parts->data = Ref(OrderOfDict(dict));
  parts->source = Ref::Borrow(dict);
  parts->arity = parts->data ? PyTuple_GET_SIZE(AsOrder(parts->data.get())->sorted) : 0;
  return static_cast<bool>(parts->data);
}

bool OpenDefaultDict(PyObject* dict, Parts* parts) {
  if (!OpenDict(dict, parts)) return false;
  Ref factory(PyObject_GetAttrString(dict, "default_factory"));
  parts->data = Ref(factory ? PyTuple_Pack(2, factory.get(), parts->data.get()) : nullptr);
  return static_cast<bool>(parts->data);
}

bool OpenOrderedDict(PyObject* dict, Parts* parts) {
  Ref keys(PySequence_Tuple(dict));
  if (!keys) return false;
  parts->data = Ref(OrderAsGiven(keys.get()));
  parts->source = Ref::Borrow(dict);
  parts->arity = PyTuple_GET_SIZE(keys.get());
  return static_cast<bool>(parts->data);
}

bool OpenDeque(PyObject* deque, Parts* parts) {
  parts->data = Ref(PyObject_GetAttrString(deque, "maxlen"));
  parts->source = Ref(parts->data ? PySequence_Tuple(deque) : nullptr);
  if (!parts->source) return false;
  parts->arity = PyTuple_GET_SIZE(parts->source.get());
  return true;
}

bool OpenRecord(PyObject* object, Parts* parts) {
  if (!TakeRecord(reinterpret_cast<Record*>(object), &parts->data, &parts->source)) return false;
  parts->arity = PyTuple_GET_SIZE(parts->source.get());
  return true;
}

bool OpenTuple(PyObject* tuple, Parts* parts) {
  parts->source = Ref::Borrow(tuple);
  parts->arity = PyTuple_GET_SIZE(tuple);
  if (parts->kind == Kind::kNamedTuple) {
    parts->data = Ref::Borrow(reinterpret_cast<PyObject*>(Py_TYPE(tuple)));
  }
  return true;
}

bool OpenList(PyObject* list, Parts* parts) {
  parts->source = Ref::Borrow(list);
  parts->arity = PyList_GET_SIZE(list);
  return true;
}

bool FillByLookup(PyObject* dict, PyObject* keys, PyObject** out, Py_ssize_t stride) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(keys); ++i) {
    PyObject* value = LookUp(dict, PyTuple_GET_ITEM(keys, i));
    if (value == nullptr) return PyErr_Occurred() ? false : RaiseChanged(dict);
    out[i * stride] = value;
  }
  return true;
}

}  // namespace

bool Open(Walk* walk, PyObject* object, Verdict verdict, Parts* parts) {
  parts->kind = verdict.kind;
  parts->registration = verdict.registration;
  switch (verdict.kind) {
    case Kind::kTuple:
    case Kind::kNamedTuple:
      return OpenTuple(object, parts);
    case Kind::kList:
      return OpenList(object, parts);
    case Kind::kDict:
      return OpenDict(object, parts);
    case Kind::kOrderedDict:
      return OpenOrderedDict(object, parts);
    case Kind::kDefaultDict:
      return OpenDefaultDict(object, parts);
    case Kind::kDeque:
      return OpenDeque(object, parts);
    case Kind::kRecord:
      return OpenRecord(object, parts);
    case Kind::kCustom:
      return OpenCustom(verdict.registration, object, walk->with_path, parts);
    case Kind::kNone:
    case Kind::kLeaf:
      break;
  }
  return true;
}

bool RaiseChanged(PyObject* container) {
  PyErr_Format(PyExc_RuntimeError, "A %s changed while it was being flattened.",
               Py_TYPE(container)->tp_name);
  return false;
}

bool Fill(const Parts& parts, PyObject** out, Py_ssize_t stride) {
  PyObject* source = parts.source.get();
  if (source == nullptr) return true;
  if (PyTuple_Check(source)) return TakeTuple(source, out, stride), true;
  if (PyList_CheckExact(source)) {
    return TakeList(source, parts.arity, out, stride) || RaiseChanged(source);
  }
  KeyOrder* order = AsOrder(OrderObject(parts.kind, parts.data.get()));
  if (parts.kind == Kind::kOrderedDict) return FillByLookup(source, order->sorted, out, stride);
  return TakeValues(source, order, out, stride) || RaiseChanged(source);
}

}  // namespace pax_tree
