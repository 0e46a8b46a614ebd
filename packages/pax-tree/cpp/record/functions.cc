// The module's functions on records.
#include "record/captured.h"
#include "record/record.h"
#include "support/arguments.h"
#include "support/errors.h"
#include "support/sequence.h"

namespace pax_tree {
namespace {

Record* AsRecord(PyObject* object, const char* function) {
  if (IsRecordType(Py_TYPE(object))) return reinterpret_cast<Record*>(object);
  return Raise(PyExc_TypeError, "%s takes a Record, but got an object of type %s.", function,
               Py_TYPE(object)->tp_name);
}

// The spec and the children of what should be a record.
bool Take(PyObject* object, const char* function, Ref* spec, Ref* children) {
  Record* record = AsRecord(object, function);
  Reader reader;
  return record != nullptr && TakeCurrent(record, &reader, spec, children);
}

RecordSpec* CheckSpec(PyObject* object, const char* function) {
  if (Py_IS_TYPE(object, record_spec_type)) return AsSpec(object);
  return Raise(PyExc_TypeError, "%s takes a RecordSpec, but got an object of type %s.", function,
               Py_TYPE(object)->tp_name);
}

bool CheckCount(Py_ssize_t nargs, Py_ssize_t expected, const char* function) {
  if (nargs == expected) return true;
  return Raise(PyExc_TypeError, "%s takes %zd arguments, but got %zd.", function, expected, nargs);
}

bool CheckFits(RecordSpec* spec, PyObject* children) {
  if (PyTuple_GET_SIZE(children) == NumChildren(spec)) return true;
  return Raise(PyExc_ValueError, "A %s with the children %R needs %zd values, but got %zd.",
               spec->cls->tp_name, spec->names, NumChildren(spec), PyTuple_GET_SIZE(children));
}

constexpr char kFlattenDoc[] =
    R"(record_flatten(record, /)
--

The children and the structure of a record.

Returns:
    The pair (tuple of children, RecordSpec); the tuple is the record's own, not a copy.

Raises:
    TypeError: the object is no record.

Example:
    >>> import pax_tree
    >>> record = pax_tree.Record()
    >>> pax_tree.record_set(record, "weight", 1.5, 0)
    >>> pax_tree.record_flatten(record)
    ((1.5,), Record(weight))
)";

constexpr char kUnflattenDoc[] =
    R"(record_unflatten(spec, children, /)
--

A record of a given structure, made without running __init__.

Args:
    spec: the structure.
    children: an iterable of as many objects as the structure has names.

Returns:
    A record of the class `spec.cls`.

Raises:
    ValueError: the number of children is not that of the structure.

Example:
    >>> import pax_tree
    >>> record = pax_tree.Record()
    >>> pax_tree.record_set(record, "weight", 1.5, 0)
    >>> pax_tree.record_unflatten(pax_tree.record_spec(record), [2.5]).weight
    2.5
)";

constexpr char kSpecDoc[] =
    R"(record_spec(record, /)
--

The structure of a record, a RecordSpec; records of equal structure have the same object.

Raises:
    TypeError: the object is no record.

Example:
    >>> import pax_tree
    >>> pax_tree.record_spec(pax_tree.Record()) is pax_tree.record_spec(pax_tree.Record())
    True
)";

constexpr char kSetDoc[] =
    R"(record_set(record, name, value, kind, /)
--

Sets an attribute without asking the class what it is.

Args:
    record: the record, which must have been made in the present scope.
    name: the name of the attribute.
    value: any object.
    kind: 0 to 255 for a child, None for a static attribute.

Raises:
    ValueError: the kind is out of range.

Example:
    >>> import pax_tree
    >>> record = pax_tree.Record()
    >>> pax_tree.record_set(record, "weight", 1.5, 0)
    >>> pax_tree.record_set(record, "name", "dense", None)
    >>> pax_tree.record_spec(record)
    Record(weight, name='dense')
)";

constexpr char kWithSpecDoc[] =
    R"(record_with_spec(record, spec, /)
--

A record with the same children and another structure.

Args:
    record: where the children come from.
    spec: a structure with as many names as there are children.

Raises:
    ValueError: the number of children is not that of the structure.

Example:
    >>> import pax_tree
    >>> record = pax_tree.Record()
    >>> record.training = True
    >>> spec = pax_tree.record_spec(record).with_static("training", False)
    >>> pax_tree.record_with_spec(record, spec).training
    False
)";

constexpr char kScopeDoc[] =
    R"(set_scope_hook(hook, top_level=None)
--

Sets the function that says in which scope the program is.

A record can be written only in the scope in which it was made or copied; elsewhere the exception that
its `_scope_error(name)` makes is raised.

Args:
    hook: called without arguments, once for every record that is made; returns None or `top_level` at
        top level, else an object that stands for the present scope and of which weak references can
        be made. None: scopes are not looked at.
    top_level: an object by which the hook stands for the top level.

Returns:
    The hook and the `top_level` before, a pair.

Raises:
    TypeError: the hook is not callable.

Example:
    >>> import pax_tree
    >>> previous = pax_tree.set_scope_hook(lambda: None)
    >>> hook, top_level = pax_tree.set_scope_hook(*previous)
)";

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
  if (!keys) return nullptr;
  Ref pairs(MakeTuple(PyTuple_GET_SIZE(keys.get()), [&](Py_ssize_t i) {
    return PyTuple_Pack(2, PyTuple_GET_ITEM(keys.get(), i), PyTuple_GET_ITEM(children.get(), i));
  }));
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
  bool tuple = PyTuple_CheckExact(args[1]);
  Ref children(tuple ? Py_NewRef(args[1]) : FirstAsTuple(args[1], NumChildren(spec) + 1));
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
    return Raise(PyExc_TypeError, "record_set takes a str as the name, but got %R.", args[1]);
  }
  long kind = args[3] == Py_None ? kStatic : PyLong_AsLong(args[3]);
  if (kind == -1 && PyErr_Occurred()) return nullptr;
  if ((kind < 0 || kind > 255) && args[3] != Py_None) {
    return Raise(PyExc_ValueError, "record_set takes a kind from 0 to 255 or None, not %R.",
                 args[3]);
  }
  PyObject* name = Py_NewRef(args[1]);
  PyUnicode_InternInPlace(&name);
  Ref owned(name);
  if (!CheckScope(record, name)) return nullptr;
  if (!SetAttribute(record, name, args[2], static_cast<int>(kind))) return nullptr;
  Py_RETURN_NONE;
}

PyObject* CheckRecordScope(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (!CheckCount(nargs, 2, "_check_record_scope")) return nullptr;
  Record* record = AsRecord(args[0], "_check_record_scope");
  if (record == nullptr || !CheckScope(record, args[1])) return nullptr;
  Py_RETURN_NONE;
}

PyObject* TellCapturedOf(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (!CheckCount(nargs, 2, "_tell_captured")) return nullptr;
  Record* record = AsRecord(args[0], "_tell_captured");
  if (record == nullptr || !TellCaptured(record, args[1])) return nullptr;
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

PyMethodDef record_methods[] = {
    {"record_flatten", RecordFlatten, METH_O, kFlattenDoc},
    {"record_unflatten", AsMethod(RecordUnflatten), METH_FASTCALL, kUnflattenDoc},
    {"record_spec", RecordSpecOf, METH_O, kSpecDoc},
    {"record_set", AsMethod(RecordSet), METH_FASTCALL, kSetDoc},
    {"record_with_spec", AsMethod(RecordWithSpec), METH_FASTCALL, kWithSpecDoc},
    Method<SetScopeHook>("set_scope_hook", kScopeDoc),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree
