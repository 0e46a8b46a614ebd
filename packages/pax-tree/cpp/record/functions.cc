// The module's functions on records.
#include "record/record.h"

namespace pax_tree {
namespace {

Record* AsRecord(PyObject* object, const char* function) {
  if (IsRecordType(Py_TYPE(object))) return reinterpret_cast<Record*>(object);
  PyErr_Format(PyExc_TypeError, "%s takes a Record, but got an object of type %s.", function,
               Py_TYPE(object)->tp_name);
  return nullptr;
}

// The spec and the children of what should be a record.
bool Take(PyObject* object, const char* function, Ref* spec, Ref* children) {
  Record* record = AsRecord(object, function);
  return record != nullptr && TakeRecord(record, spec, children);
}

RecordSpec* CheckSpec(PyObject* object, const char* function) {
  if (Py_IS_TYPE(object, record_spec_type)) return AsSpec(object);
  PyErr_Format(PyExc_TypeError, "%s takes a RecordSpec, but got an object of type %s.", function,
               Py_TYPE(object)->tp_name);
  return nullptr;
}

bool CheckCount(Py_ssize_t nargs, Py_ssize_t expected, const char* function) {
  if (nargs == expected) return true;
  PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, but got %zd.", function, expected, nargs);
  return false;
}

bool CheckFits(RecordSpec* spec, PyObject* children) {
  if (PyTuple_GET_SIZE(children) == NumChildren(spec)) return true;
  PyErr_Format(PyExc_ValueError, "A %s with the children %R needs %zd values, but got %zd.",
               spec->cls->tp_name, spec->names, NumChildren(spec), PyTuple_GET_SIZE(children));
  return false;
}

}  // namespace

PyObject* RecordFlatten(PyObject*, PyObject* object) {
  Ref spec, children;
  if (!Take(object, "record_flatten", &spec, &children)) return nullptr;
  return PyTuple_Pack(2, children.get(), spec.get());
}

PyObject* RecordFlattenWithKeys(PyObject* key_type, PyObject* object) {
  Ref spec, children;
  if (!Take(object, "a record's flatten function", &spec, &children)) return nullptr;
  Ref keys(SpecForeignKeys(AsSpec(spec.get()), key_type));
  Ref pairs(keys ? PyTuple_New(PyTuple_GET_SIZE(keys.get())) : nullptr);
  for (Py_ssize_t i = 0; pairs && i < PyTuple_GET_SIZE(keys.get()); ++i) {
    PyObject* pair =
        PyTuple_Pack(2, PyTuple_GET_ITEM(keys.get(), i), PyTuple_GET_ITEM(children.get(), i));
    if (pair == nullptr) return nullptr;
    PyTuple_SET_ITEM(pairs.get(), i, pair);
  }
  return pairs ? PyTuple_Pack(2, pairs.get(), spec.get()) : nullptr;
}

PyObject* RecordFlattener(PyObject*, PyObject* key_type) {
  static PyMethodDef method = {"record_flatten_with_keys", RecordFlattenWithKeys, METH_O,
                               "((key, child) pairs, spec) of a record."};
  return PyCFunction_New(&method, key_type);
}

PyObject* RecordUnflatten(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (!CheckCount(nargs, 2, "record_unflatten")) return nullptr;
  RecordSpec* spec = CheckSpec(args[0], "record_unflatten");
  if (spec == nullptr) return nullptr;
  Ref children(PySequence_Tuple(args[1]));
  if (!children || !CheckFits(spec, children.get())) return nullptr;
  return MakeRecord(spec, children.release());
}

PyObject* RecordSpecOf(PyObject*, PyObject* object) {
  Ref spec, children;
  return Take(object, "record_spec", &spec, &children) ? spec.release() : nullptr;
}

PyObject* RecordSet(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (!CheckCount(nargs, 4, "record_set")) return nullptr;
  Record* record = AsRecord(args[0], "record_set");
  if (record == nullptr) return nullptr;
  if (!PyUnicode_Check(args[1])) {
    return PyErr_Format(PyExc_TypeError, "record_set takes a str as the name, but got %R.",
                        args[1]);
  }
  long kind = args[3] == Py_None ? kStatic : PyLong_AsLong(args[3]);
  if (kind == -1 && PyErr_Occurred()) return nullptr;
  if ((kind < 0 || kind > 255) && args[3] != Py_None) {
    return PyErr_Format(PyExc_ValueError, "record_set takes a kind from 0 to 255 or None, not %R.",
                        args[3]);
  }
  PyObject* name = Py_NewRef(args[1]);
  PyUnicode_InternInPlace(&name);
  Ref owned(name);
  if (!CheckScope(record, name)) return nullptr;
  if (!SetAttribute(record, name, args[2], static_cast<int>(kind))) return nullptr;
  Py_RETURN_NONE;
}

PyObject* RecordWithSpec(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (!CheckCount(nargs, 2, "record_with_spec")) return nullptr;
  Ref old_spec, children;
  if (!Take(args[0], "record_with_spec", &old_spec, &children)) return nullptr;
  RecordSpec* spec = CheckSpec(args[1], "record_with_spec");
  if (spec == nullptr || !CheckFits(spec, children.get())) return nullptr;
  return MakeRecord(spec, children.release());
}

}  // namespace pax_tree
