// Static values: in the form in which they are compared, copies of those that can change in place,
// and whether one has changed.
#include <cstring>

#include "core/registry.h"
#include "record/objects.h"
#include "record/record.h"
#include "record/spec.h"
#include "support/compat.h"
#include "support/sequence.h"

namespace pax_tree {
namespace {

// (type, key): equal only for values of the same type.
PyObject* Tagged(PyObject* value, PyObject* key) {
  if (key == nullptr) return nullptr;
  PyObject* tagged = PyTuple_Pack(2, reinterpret_cast<PyObject*>(Py_TYPE(value)), key);
  Py_DECREF(key);
  return tagged;
}

// The bits of a number, so that 0.0 and -0.0 differ and NaN equals itself.
PyObject* FreezeComplex(PyObject* value) {
  double parts[2] = {PyComplex_RealAsDouble(value), PyComplex_ImagAsDouble(value)};
  char bytes[sizeof(parts)];
  std::memcpy(bytes, parts, sizeof(parts));
  return PyBytes_FromStringAndSize(bytes, sizeof(bytes));
}

// (value, key): equal only where both are.
PyObject* And(PyObject* value, PyObject* key) {
  Ref owned(key);
  return owned ? PyTuple_Pack(2, value, key) : nullptr;
}

// The bits and the dtype of a scalar of NumPy, as of other numbers.
PyObject* FreezeScalar(PyObject* value) {
  Ref bytes(PyObject_CallMethod(value, "tobytes", nullptr));
  Ref dtype(bytes ? PyObject_GetAttrString(value, "dtype") : nullptr);
  return dtype ? PyTuple_Pack(2, bytes.get(), dtype.get()) : nullptr;
}

// The frozen items of any iterable, in order.
PyObject* FreezeItems(PyObject* iterable) {
  Ref items(PySequence_Tuple(iterable));
  if (!items) return nullptr;
  return MakeTuple(PyTuple_GET_SIZE(items.get()),
                   [&](Py_ssize_t i) { return Freeze(PyTuple_GET_ITEM(items.get(), i)); });
}

PyObject* FreezeDict(PyObject* dict) {
  Ref items(PyDict_Items(dict));
  return items ? FreezeItems(items.get()) : nullptr;
}

PyObject* FreezeSet(PyObject* set) {
  Ref items(FreezeItems(set));
  return items ? PyFrozenSet_New(items.get()) : nullptr;
}

PyObject* ReturnSelf(PyObject* self, PyObject*) { return Py_NewRef(self); }
PyMethodDef identity_method = {"same", ReturnSelf, METH_NOARGS, nullptr};

// A built-in method bound to a value is a key that holds the value, and that compares and hashes by
// the value's identity.
PyObject* Identity(PyObject* value) { return PyCFunction_New(&identity_method, value); }

// What is made of a value by `pickle`, which tells equal dates, ranges and decimals apart.
PyObject* FreezeReduced(PyObject* value) {
  Ref reduced(PyObject_CallMethod(value, "__reduce_ex__", "i", 4));
  return reduced ? FreezeItems(reduced.get()) : nullptr;
}

// The values of an object's slots and attributes.
PyObject* FreezeAttributes(PyObject* value) {
  Ref items(AttributeItems(value));
  return items ? FreezeSet(items.get()) : nullptr;
}

// The frozen items of a dict of a class derived from Python's, with the factory of a default dict.
PyObject* FreezeMapping(PyObject* value) {
  Ref items(PyMapping_Items(value));
  Ref frozen(items ? FreezeItems(items.get()) : nullptr);
  if (!frozen) return nullptr;
  Ref factory(PyObject_GetAttrString(value, "default_factory"));
  if (!factory) PyErr_Clear();
  Ref key(factory ? Freeze(factory.get()) : Py_NewRef(Py_None));
  return key ? PyTuple_Pack(2, frozen.get(), key.get()) : nullptr;
}

PyObject* FreezeDeque(PyObject* value) {
  Ref items(FreezeItems(value)), length(PyObject_GetAttrString(value, "maxlen"));
  return items && length ? PyTuple_Pack(2, items.get(), length.get()) : nullptr;
}

// The frozen items of an object that is a container of a class derived from Python's.
PyObject* FreezeContents(PyObject* value) {
  if (PyDict_Check(value)) return FreezeMapping(value);
  if (Py_IS_TYPE(value, deque_type)) return FreezeDeque(value);
  if (Py_IS_TYPE(value, &PyDictProxy_Type)) return FreezeMapping(value);
  if (PyAnySet_Check(value)) return FreezeSet(value);
  if (PyList_Check(value)) return FreezeItems(value);
  return PyObject_CheckBuffer(value) ? PyBytes_FromObject(value) : Py_NewRef(Py_None);
}

// An object that may change equals itself, or what is like it, while it holds the same. What cannot
// be read, and what holds itself, equals itself.
PyObject* FreezeObject(PyObject* value) {
  Ref identity(Identity(value));
  if (!identity || Has(value, "__array__")) return identity.release();
  int inside = Py_ReprEnter(value);
  if (inside != 0) return inside > 0 ? identity.release() : nullptr;
  Ref contents(FreezeContents(value));
  Ref attributes(contents ? FreezeAttributes(value) : nullptr);
  Py_ReprLeave(value);
  if (attributes && IsByValue(value)) return PyTuple_Pack(2, contents.get(), attributes.get());
  if (attributes) return PyTuple_Pack(3, identity.get(), contents.get(), attributes.get());
  if (PyErr_ExceptionMatches(PyExc_RecursionError)) return nullptr;
  if (!PyErr_ExceptionMatches(PyExc_Exception)) return nullptr;
  PyErr_Clear();
  return identity.release();
}

// An object that equals itself only: by what it holds, too.
PyObject* FreezeOpen(PyObject* value) {
  int inside = Py_ReprEnter(value);
  if (inside != 0) return inside > 0 ? Identity(value) : nullptr;
  PyObject* attributes = FreezeAttributes(value);
  Py_ReprLeave(value);
  return And(value, attributes);
}

PyObject* FreezeHashable(PyObject* value) {
  bool fields = IsFrozenDataclass(Py_TYPE(value));
  if (fields || IsBound(value)) {
    Ref held(fields ? FieldValues(value) : BoundValues(value));
    return held ? And(value, FreezeItems(held.get())) : nullptr;
  }
  if (IsOpen(value)) return FreezeOpen(value);
  return IsOfMoreThanItsValue(value) ? And(value, FreezeReduced(value)) : Py_NewRef(value);
}

PyObject* FreezeKey(PyObject* value) {
  if (PyFloat_CheckExact(value) || PyComplex_CheckExact(value)) return FreezeComplex(value);
  if (PyTuple_Check(value) || PyList_CheckExact(value)) return FreezeItems(value);
  if (PyDict_CheckExact(value)) return FreezeDict(value);
  if (PyAnySet_CheckExact(value)) return FreezeSet(value);
  if (IsPlain(value)) return Py_NewRef(value);
  if (IsNumPyScalar(value)) return FreezeScalar(value);
  if (PyFloat_Check(value) || PyComplex_Check(value)) return And(value, FreezeComplex(value));
  if (PySlice_Check(value)) return FreezeReduced(value);
  if (!IsMutableObject(value)) return FreezeHashable(value);
  return PyErr_Occurred() ? nullptr : FreezeObject(value);
}

// Puts copies of what can change into the place of what a copied object holds.
bool SnapshotInside(PyObject* copy);

// A copy of an object, and of what it holds; the object itself where the copy is not like it.
PyObject* SnapshotObject(PyObject* value) {
  Ref copy_of(Import("copy", "copy"));
  Ref copy(copy_of ? PyObject_CallOneArg(copy_of.get(), value) : nullptr);
  bool copied = copy && Py_TYPE(copy.get()) == Py_TYPE(value) && SnapshotInside(copy.get());
  Ref old(copied ? Freeze(value) : nullptr), now(old ? Freeze(copy.get()) : nullptr);
  int same = now ? PyObject_RichCompareBool(old.get(), now.get(), Py_EQ) : -1;
  if (same == 1) return copy.release();
  if (same < 0 && PyErr_Occurred()) {
    if (!PyErr_ExceptionMatches(PyExc_Exception)) return nullptr;
    PyErr_Clear();
  }
  return Py_NewRef(value);
}

PyObject* SnapshotDict(PyObject* dict) {
  Ref copy(PyDict_Copy(dict));
  PyObject *key, *value;
  Py_ssize_t position = 0;
  while (copy && PyDict_Next(copy.get(), &position, &key, &value)) {
    if (!CanChange(value)) continue;
    Ref inner(Snapshot(value));
    if (!inner || PyDict_SetItem(copy.get(), key, inner.get()) < 0) return nullptr;
  }
  return copy.release();
}

// A copy first, for a list may change meanwhile.
PyObject* SnapshotItems(PyObject* sequence) {
  Ref items(PySequence_Tuple(sequence));
  auto item = [&items](Py_ssize_t i) { return Snapshot(PyTuple_GET_ITEM(items.get(), i)); };
  if (!items) return nullptr;
  Py_ssize_t size = PyTuple_GET_SIZE(items.get());
  return PyTuple_CheckExact(sequence) ? MakeTuple(size, item) : MakeList(size, item);
}

PyObject* SnapshotContainer(PyObject* value) {
  if (PyDict_CheckExact(value)) return SnapshotDict(value);
  if (PySet_CheckExact(value)) return PySet_New(value);
  if (PyTuple_CheckExact(value) || PyList_CheckExact(value)) return SnapshotItems(value);
  return SnapshotObject(value);
}

// Replaces what can change among the values of a mapping or the items of a sequence.
bool SnapshotItemsOf(PyObject* container, PyObject* pairs) {
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(pairs); ++i) {
    PyObject* pair = PyList_GET_ITEM(pairs, i);
    PyObject* value = PyTuple_GET_ITEM(pair, 1);
    if (!CanChange(value)) continue;
    Ref inner(Snapshot(value));
    if (!inner) return false;
    if (PyObject_SetItem(container, PyTuple_GET_ITEM(pair, 0), inner.get()) < 0) return false;
  }
  return true;
}

// A list of (index, item).
PyObject* Enumerated(PyObject* sequence) {
  Ref pairs(PyObject_CallOneArg(reinterpret_cast<PyObject*>(&PyEnum_Type), sequence));
  return pairs ? PySequence_List(pairs.get()) : nullptr;
}

bool SnapshotFields(PyObject* copy) {
  Ref fields(PyObject_GetAttrString(copy, "__dataclass_fields__"));
  if (!fields) {
    PyErr_Clear();
    return true;
  }
  Ref names(PySequence_Tuple(fields.get()));
  for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names.get()); ++i) {
    PyObject* name = PyTuple_GET_ITEM(names.get(), i);
    Ref value(PyObject_GetAttr(copy, name));
    if (!value) PyErr_Clear();
    if (!value || !CanChange(value.get())) continue;
    Ref inner(Snapshot(value.get()));
    if (!inner || PyObject_GenericSetAttr(copy, name, inner.get()) < 0) return false;
  }
  return static_cast<bool>(names);
}

bool SnapshotInside(PyObject* copy) {
  Ref pairs;
  if (PyDict_Check(copy)) pairs = Ref(PyDict_Items(copy));
  if (PyList_Check(copy) || Py_IS_TYPE(copy, deque_type)) pairs = Ref(Enumerated(copy));
  if (PyErr_Occurred() || (pairs && !SnapshotItemsOf(copy, pairs.get()))) return false;
  Ref attributes(PyObject_GetAttrString(copy, "__dict__"));
  if (!attributes) PyErr_Clear();
  bool has_dict = attributes && PyDict_Check(attributes.get()) && !IsRecordType(Py_TYPE(copy));
  if (!has_dict) return SnapshotFields(copy);
  Ref items(PyDict_Items(attributes.get()));
  return items && SnapshotItemsOf(attributes.get(), items.get());
}

// Whether two dicts hold the same objects in the same order.
bool SameItems(PyObject* dict, PyObject* snapshot) {
  if (PyDict_GET_SIZE(dict) != PyDict_GET_SIZE(snapshot)) return false;
  PyObject *key, *value, *old_key, *old_value;
  Py_ssize_t at = 0, old_at = 0;
  while (PyDict_Next(dict, &at, &key, &value)) {
    if (!PyDict_Next(snapshot, &old_at, &old_key, &old_value) || key != old_key) return false;
    Ref held = Ref::Borrow(value), old = Ref::Borrow(old_value);
    if (!IsUnchanged(held.get(), old.get())) return false;
  }
  return true;
}

// Whether an object that can be hashed, and so may be compared as a whole, can change in place.
bool HoldsWhatMayChange(PyObject* value) {
  if (IsOpen(value)) return true;
  bool fields = IsFrozenDataclass(Py_TYPE(value));
  if (!fields && !IsBound(value)) return false;
  Ref held(fields ? FieldValues(value) : BoundValues(value));
  if (!held) PyErr_Clear();
  return held && MayChange(held.get());
}

}  // namespace

bool CanChange(PyObject* value) {
  if (PyList_CheckExact(value) || PyDict_CheckExact(value) || PySet_CheckExact(value)) return true;
  if (!PyTuple_CheckExact(value)) return !IsPlain(value) && IsByValue(value);
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(value); ++i) {
    if (CanChange(PyTuple_GET_ITEM(value, i))) return true;
  }
  return false;
}

bool MayChange(PyObject* value) {
  if (CanChange(value)) return true;
  if (IsPlain(value) || PyAnySet_CheckExact(value)) return false;
  if (PySlice_Check(value) || IsNumPyScalar(value)) return false;
  if (!PyTuple_Check(value)) return IsMutableObject(value) || HoldsWhatMayChange(value);
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(value); ++i) {
    if (MayChange(PyTuple_GET_ITEM(value, i))) return true;
  }
  return false;
}

bool IsUnchanged(PyObject* value, PyObject* snapshot) {
  if (PyDict_CheckExact(value) && PyDict_CheckExact(snapshot)) {
    return SameItems(value, snapshot);
  }
  bool sequences = PyList_CheckExact(value)
                       ? PyList_CheckExact(snapshot)
                       : PyTuple_CheckExact(value) && PyTuple_CheckExact(snapshot);
  if (!sequences) return value == snapshot && (IsPlain(value) || !MayChange(value));
  if (PySequence_Fast_GET_SIZE(value) != PySequence_Fast_GET_SIZE(snapshot)) return false;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(value); ++i) {
    if (i >= PySequence_Fast_GET_SIZE(snapshot)) return false;
    Ref item = Ref::Borrow(PySequence_Fast_GET_ITEM(value, i));
    Ref old = Ref::Borrow(PySequence_Fast_GET_ITEM(snapshot, i));
    if (!IsUnchanged(item.get(), old.get())) return false;
  }
  return true;
}

PyObject* Freeze(PyObject* value) {
  if (Py_EnterRecursiveCall(" while comparing a static attribute") != 0) return nullptr;
  PyObject* frozen = Tagged(value, FreezeKey(value));
  Py_LeaveRecursiveCall();
  return frozen;
}

PyObject* Snapshot(PyObject* value) {
  if (!CanChange(value)) return Py_NewRef(value);
  if (Py_EnterRecursiveCall(" while copying a static attribute") != 0) return nullptr;
  PyObject* copy = SnapshotContainer(value);
  Py_LeaveRecursiveCall();
  return copy;
}

}  // namespace pax_tree
