// Static values by their classes: which may change in place, and what they hold.
#include "record/objects.h"

#include <cstring>
#include <initializer_list>
#include <string>
#include <utility>

#include "core/registry.h"
#include "record/record.h"
#include "support/compat.h"
#include "support/sequence.h"

namespace pax_tree {
namespace {

// What the decorator of a dataclass was given as this option; null without an error for other
// classes.
Ref DataclassOption(PyTypeObject* type, const char* option) {
  Ref name(PyUnicode_InternFromString("__dataclass_params__"));
  Ref params(name ? LookUpInClass(type, name.get()) : nullptr);
  Ref given(params ? PyObject_GetAttrString(params.get(), option) : nullptr);
  if (!given) PyErr_Clear();
  return given;
}

// Whether a class is one of dataclasses that are not frozen.
bool IsMutableDataclass(PyTypeObject* type) {
  return DataclassOption(type, "frozen").get() == Py_False;
}

bool Is(PyObject* value, const char* type_name) {
  return std::strcmp(Py_TYPE(value)->tp_name, type_name) == 0;
}

// The `__module__` of a class; null without an error if it is no string.
Ref ModuleOf(PyTypeObject* type) {
  Ref module(PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "__module__"));
  if (!module) PyErr_Clear();
  return module && PyUnicode_Check(module.get()) ? std::move(module) : Ref();
}

// Whether a class is one of Python's library, written in Python, that compare what they hold.
bool IsLibraryHolder(PyTypeObject* type) {
  Ref module = ModuleOf(type);
  if (!module) return false;
  auto is = [&](const char* text) {
    return PyUnicode_CompareWithASCIIString(module.get(), text) == 0;
  };
  if (is("argparse")) return std::strcmp(type->tp_name, "Namespace") == 0;
  bool holder = std::strcmp(type->tp_name, "UserDict") == 0 ||
                std::strcmp(type->tp_name, "UserList") == 0 ||
                std::strcmp(type->tp_name, "Counter") == 0;
  return holder && is("collections");
}

// Whether a class is of Python's library or of one of arrays: its objects stay what they are.
bool IsOfLibrary(PyTypeObject* type) {
  Ref module = ModuleOf(type);
  PyObject* names = PySys_GetObject("stdlib_module_names");
  const char* text = module ? PyUnicode_AsUTF8(module.get()) : nullptr;
  if (text == nullptr || names == nullptr) {
    PyErr_Clear();
    return true;
  }
  std::string root(text, std::strcspn(text, "."));
  for (const char* library : {"jax", "jaxlib", "ml_dtypes", "numpy", "torch"}) {
    if (root == library) return true;
  }
  Ref name(PyUnicode_FromStringAndSize(root.data(), static_cast<Py_ssize_t>(root.size())));
  return !name || PySequence_Contains(names, name.get()) != 0;
}

// Whether a class says that its objects equal themselves only, whatever they hold. Classes derived
// from it may hold more, and say it themselves.
bool IsByIdentity(PyTypeObject* type) {
  Ref own(PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "__dict__"));
  Ref said(own ? PyMapping_GetItemString(own.get(), "__static_by_identity__") : nullptr);
  if (!said) PyErr_Clear();
  return said.get() == Py_True;
}

// Appends the values of the slots that a class defines.
bool AppendSlots(PyObject* value, PyTypeObject* type, PyObject* items) {
  Ref dict(PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "__dict__"));
  Ref pairs(dict ? PyMapping_Items(dict.get()) : nullptr);
  for (Py_ssize_t i = 0; pairs && i < PyList_GET_SIZE(pairs.get()); ++i) {
    PyObject* name = PyTuple_GET_ITEM(PyList_GET_ITEM(pairs.get(), i), 0);
    PyObject* slot = PyTuple_GET_ITEM(PyList_GET_ITEM(pairs.get(), i), 1);
    if (!Py_IS_TYPE(slot, &PyMemberDescr_Type)) continue;
    Ref held(Py_TYPE(slot)->tp_descr_get(slot, value, reinterpret_cast<PyObject*>(type)));
    if (!held) PyErr_Clear();  // not set
    Ref item(held ? PyTuple_Pack(2, name, held.get()) : nullptr);
    if (item && PyList_Append(items, item.get()) < 0) return false;
  }
  return static_cast<bool>(pairs);
}

bool IsCachedProperty(PyObject* value, PyObject* name) {
  Ref found(PyUnicode_Check(name) ? LookUpInClass(Py_TYPE(value), name) : nullptr);
  return found && Is(found.get(), "cached_property");
}

// Appends what the __dict__ of an object has.
bool AppendAttributes(PyObject* value, PyObject* items) {
  if (IsRecordType(Py_TYPE(value))) return true;
  Ref dict(PyObject_GetAttrString(value, "__dict__"));
  if (!dict) PyErr_Clear();
  if (!dict || !PyDict_Check(dict.get())) return true;
  Ref pairs(PyDict_Items(dict.get()));
  for (Py_ssize_t i = 0; pairs && i < PyList_GET_SIZE(pairs.get()); ++i) {
    PyObject* pair = PyList_GET_ITEM(pairs.get(), i);
    if (IsCachedProperty(value, PyTuple_GET_ITEM(pair, 0))) continue;
    if (PyList_Append(items, pair) < 0) return false;
  }
  return static_cast<bool>(pairs);
}

// The names of the fields of a dataclass that are compared, a list.
PyObject* ComparedFields(PyObject* value) {
  Ref fields(PyObject_GetAttrString(value, "__dataclass_fields__"));
  Ref pairs(fields ? PyMapping_Items(fields.get()) : nullptr),
      names(pairs ? PyList_New(0) : nullptr);
  for (Py_ssize_t i = 0; names && i < PyList_GET_SIZE(pairs.get()); ++i) {
    PyObject* pair = PyList_GET_ITEM(pairs.get(), i);
    Ref compared(PyObject_GetAttrString(PyTuple_GET_ITEM(pair, 1), "compare"));
    if (!compared) return nullptr;
    if (compared.get() == Py_False) continue;
    if (PyList_Append(names.get(), PyTuple_GET_ITEM(pair, 0)) < 0) return nullptr;
  }
  return names.release();
}

// Whether a class is this one, or derived from it.
bool IsDerivedFrom(PyTypeObject* type, const char* name) {
  PyObject* bases = type->tp_mro;
  for (Py_ssize_t i = 0; bases != nullptr && i < PyTuple_GET_SIZE(bases); ++i) {
    auto* base = reinterpret_cast<PyTypeObject*>(PyTuple_GET_ITEM(bases, i));
    if (std::strcmp(base->tp_name, name) == 0) return true;
  }
  return false;
}

bool IsPartial(PyObject* value) {
  PyTypeObject* type = Py_TYPE(value);
  if (type->tp_richcompare != PyBaseObject_Type.tp_richcompare) return false;
  return IsDerivedFrom(type, "functools.partial");
}

// Whether a class is one of arrays; asked for whenever an attribute is read.
bool IsArray(PyTypeObject* type) {
  static PyObject* name = PyUnicode_InternFromString("dtype");
  return name != nullptr && static_cast<bool>(Ref(LookUpInClass(type, name)));
}

// Whether an object of a class written in C is one that can be written to.
bool IsWritableStatic(PyObject* value) {
  if (Py_IS_TYPE(value, deque_type) || PyByteArray_Check(value)) return true;
  return Is(value, "numpy.ndarray") || Is(value, "types.SimpleNamespace") ||
         Is(value, "array.array");
}

}  // namespace

bool IsPlain(PyObject* value) {
  PyTypeObject* type = Py_TYPE(value);
  return value == Py_None || type == &PyUnicode_Type || type == &PyLong_Type ||
         type == &PyBool_Type || type == &PyFloat_Type || type == &PyFunction_Type ||
         type == &PyBytes_Type || type == &PyComplex_Type || PyType_Check(value);
}

bool MayBeWritten(PyObject* value) {
  if (IsPlain(value) || IsRecordType(Py_TYPE(value))) return false;
  if (PyList_Check(value) || PyDict_Check(value) || PySet_Check(value)) return true;
  if (!PyTuple_Check(value)) {
    bool heap = PyType_HasFeature(Py_TYPE(value), Py_TPFLAGS_HEAPTYPE);
    return heap ? !IsArray(Py_TYPE(value)) : IsWritableStatic(value);
  }
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(value); ++i) {
    if (MayBeWritten(PyTuple_GET_ITEM(value, i))) return true;
  }
  return false;
}

bool Has(PyObject* value, const char* name) {
  Ref found(PyObject_GetAttrString(reinterpret_cast<PyObject*>(Py_TYPE(value)), name));
  if (!found) PyErr_Clear();
  return static_cast<bool>(found);
}

bool IsFrozenDataclass(PyTypeObject* type) {
  return DataclassOption(type, "frozen").get() == Py_True;
}

bool IsNumPyScalar(PyObject* value) { return IsDerivedFrom(Py_TYPE(value), "numpy.generic"); }

bool IsOfMoreThanItsValue(PyObject* value) {
  if (PyRange_Check(value)) return true;
  for (const char* name : {"decimal.Decimal", "datetime.datetime", "datetime.time"}) {
    if (Is(value, name)) return true;
  }
  return false;
}

bool IsByValue(PyObject* value) {
  PyTypeObject* type = Py_TYPE(value);
  if (PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE)) {
    bool dataclass = IsMutableDataclass(type) && DataclassOption(type, "eq").get() == Py_True;
    if (dataclass || IsLibraryHolder(type)) return !Has(value, "__array__");
  }
  richcmpfunc compare = type->tp_richcompare;
  if (PyODict_Check(value)) return compare == PyODict_Type.tp_richcompare;
  if (PyDict_Check(value)) return compare == PyDict_Type.tp_richcompare;
  if (PyList_Check(value)) return compare == PyList_Type.tp_richcompare;
  if (PySet_Check(value)) return compare == PySet_Type.tp_richcompare;
  if (PyByteArray_Check(value)) return compare == PyByteArray_Type.tp_richcompare;
  if (Py_IS_TYPE(value, deque_type)) return true;
  return Is(value, "types.SimpleNamespace") || Is(value, "array.array");
}

bool IsMutableObject(PyObject* value) {
  if (IsMutableDataclass(Py_TYPE(value))) return true;
  if (PyObject_Hash(value) != -1) return false;
  if (PyErr_ExceptionMatches(PyExc_TypeError)) PyErr_Clear();
  return true;
}

bool IsOpen(PyObject* value) {
  PyTypeObject* type = Py_TYPE(value);
  if (type->tp_richcompare != PyBaseObject_Type.tp_richcompare) return false;
  if (!PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) || IsOfLibrary(type)) return false;
  if (IsByIdentity(type)) return false;
  return !IsFrozenDataclass(type) && !Has(value, "__array__") && !Has(value, "_member_map_");
}

bool IsBound(PyObject* value) { return PyMethod_Check(value) || IsPartial(value); }

PyObject* BoundValues(PyObject* value) {
  if (PyMethod_Check(value)) return PyTuple_Pack(1, PyMethod_GET_SELF(value));
  Ref function(PyObject_GetAttrString(value, "func")), args(PyObject_GetAttrString(value, "args"));
  Ref keywords(PyObject_GetAttrString(value, "keywords"));
  // Those of classes derived from it, which may have some of their own.
  bool derived = !Is(value, "functools.partial");
  Ref attributes(derived ? AttributeItems(value) : Py_NewRef(Py_None));
  if (!function || !args || !keywords || !attributes) return nullptr;
  return PyTuple_Pack(4, function.get(), args.get(), keywords.get(), attributes.get());
}

PyObject* FieldValues(PyObject* value) {
  Ref names(ComparedFields(value));
  if (!names) return nullptr;
  return MakeTuple(PyList_GET_SIZE(names.get()), [&](Py_ssize_t i) {
    PyObject* field = PyObject_GetAttr(value, PyList_GET_ITEM(names.get(), i));
    if (field == nullptr) PyErr_Clear();
    return field == nullptr ? Py_NewRef(Py_None) : field;
  });
}

PyObject* AttributeItems(PyObject* value) {
  Ref items(PyList_New(0));
  PyObject* bases = Py_TYPE(value)->tp_mro;
  if (!items || !AppendAttributes(value, items.get())) return nullptr;
  for (Py_ssize_t i = 0; bases != nullptr && i < PyTuple_GET_SIZE(bases); ++i) {
    auto* base = reinterpret_cast<PyTypeObject*>(PyTuple_GET_ITEM(bases, i));
    // A class written in Python has as many items as it defines slots.
    bool slots = PyType_HasFeature(base, Py_TPFLAGS_HEAPTYPE) && Py_SIZE(base) != 0;
    if (slots && !AppendSlots(value, base, items.get())) return nullptr;
  }
  return items.release();
}

}  // namespace pax_tree
