// What dm-tree takes for a node, decided once per class, and how it is called in errors.
#include "core/parts.h"
#include "dm/dm.h"
#include "support/compat.h"
#include "support/errors.h"
#include "support/sequence.h"

namespace pax_tree::dm {
namespace {

PyObject *mapping_abc, *view_abc, *sequence_abc;

// Remembered verdicts. A weak reference tells a class from a later one at the same address.
struct Entry {
  PyTypeObject* type = nullptr;
  PyObject* weak = nullptr;
  Form form;
  bool per_object = false;  // `__class__` of its objects need not be their class
};
constexpr size_t kEntries = 1024;
#ifdef Py_GIL_DISABLED
thread_local Entry entries[kEntries];
#else
Entry entries[kEntries];
#endif

Entry& EntryOf(PyTypeObject* type) {
  size_t bits = reinterpret_cast<size_t>(type) >> 4;
  return entries[(bits ^ (bits >> 10)) % kEntries];
}

bool Holds(const Entry& entry, PyTypeObject* type) {
  return entry.type == type && Ref(Referent(entry.weak));
}

bool Remember(PyTypeObject* type, Form form, bool per_object) {
  PyObject* weak = PyWeakref_NewRef(reinterpret_cast<PyObject*>(type), nullptr);
  if (weak == nullptr) return false;
  Entry& entry = EntryOf(type);
  Ref old(std::exchange(entry.weak, weak));
  entry.type = type;
  entry.form = form;
  entry.per_object = per_object;
  return true;
}

// 1, 0, or -1 with an error that is not AttributeError; the attribute goes to `value`.
int Attribute(PyObject* object, const char* name, Ref* value) {
  *value = Ref(PyObject_GetAttrString(object, name));
  if (*value) return 1;
  if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return -1;
  PyErr_Clear();
  return 0;
}

// Whether a class defines `__class__` itself, as proxies and mocks do.
int DefinesClass(PyTypeObject* type) {
  Ref name(PyUnicode_InternFromString("__class__"));
  if (!name) return -1;
  Ref mro = Ref::Borrow(type->tp_mro);
  for (Py_ssize_t i = 0; mro && i + 1 < PyTuple_GET_SIZE(mro.get()); ++i) {
    Ref dict(PyObject_GetAttrString(PyTuple_GET_ITEM(mro.get(), i), "__dict__"));
    int defines = dict ? PySequence_Contains(dict.get(), name.get()) : -1;
    if (defines != 0) return defines;
  }
  return 0;
}

int IsAttrs(PyObject* object) {
  Ref cls, attributes;
  int found = Attribute(object, "__class__", &cls);
  return found == 1 ? Attribute(cls.get(), "__attrs_attrs__", &attributes) : found;
}

bool IsText(PyObject* object) {
  return PyUnicode_Check(object) || PyBytes_Check(object) || PyByteArray_Check(object);
}

int HasFields(PyObject* tuple) {
  Ref fields;
  int found = Attribute(tuple, "_fields", &fields);
  if (found == 1) found = PyObject_IsInstance(fields.get(), sequence_abc);
  if (found != 1) return found;
  Ref names(PySequence_Fast(fields.get(), "_fields must be a sequence"));
  if (!names) return -1;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(names.get()); ++i) {
    if (!IsText(PySequence_Fast_GET_ITEM(names.get(), i))) return 0;
  }
  return 1;
}

// A proxy's class can only be there once wrapt is imported.
int IsProxy(PyTypeObject* type) {
  PyObject* wrapt = PyDict_GetItemString(PyImport_GetModuleDict(), "wrapt");
  if (wrapt == nullptr || wrapt == Py_None) return 0;
  Ref keep = Ref::Borrow(wrapt), proxy;
  int found = Attribute(wrapt, "ObjectProxy", &proxy);
  if (found != 1) return found;
  return PyType_Check(proxy.get()) &&
         PyType_IsSubtype(type, reinterpret_cast<PyTypeObject*>(proxy.get()));
}

Shape ShapeOf(bool mapping, bool view, bool attrs, bool named) {
  if (mapping) return Shape::kMapping;
  if (view) return Shape::kView;
  if (attrs) return Shape::kAttrs;
  return named ? Shape::kNamedTuple : Shape::kSequence;
}

bool Decide(PyObject* object, Form* form) {
  int proxy = IsProxy(Py_TYPE(object));
  if (proxy < 0) return false;
  form->proxy = proxy == 1;
  Ref wrapped(Unwrapped(object, *form));
  int named = !wrapped ? -1 : PyTuple_Check(wrapped.get()) ? HasFields(wrapped.get()) : 0;
  int mapping = named < 0 ? -1 : PyObject_IsInstance(object, mapping_abc);
  int view = mapping < 0 ? -1 : PyObject_IsInstance(object, view_abc);
  int attrs = view < 0 ? -1 : IsAttrs(object);
  int sequence = attrs < 0 ? -1 : PyObject_IsInstance(object, sequence_abc);
  int str = sequence < 0 ? -1 : PyObject_IsInstance(object, (PyObject*)&PyUnicode_Type);
  int bytes = str < 0 ? -1 : PyObject_IsInstance(object, (PyObject*)&PyBytes_Type);
  if (bytes < 0) return false;
  form->shape = ShapeOf(mapping, view, attrs, named);
  form->nested = mapping || view || attrs || (sequence && !IsText(object));
  form->keyed = !str && !bytes && (mapping || sequence || named || attrs);
  return true;
}

const char* ShapeName(PyObject* object, Shape shape) {
  switch (shape) {
    case Shape::kTuple: return "a tuple";
    case Shape::kList: return "a list";
    case Shape::kDict: return "a dict";
    default: return Py_TYPE(object)->tp_name;
  }
}

std::string PathText(const std::vector<Ref>& place) {
  auto size = static_cast<Py_ssize_t>(place.size());
  Ref path(MakeTuple(size, [&](Py_ssize_t i) {
    const Ref& key = place[size - 1 - i];
    return Py_NewRef(key ? key.get() : Py_None);
  }));
  return path ? "at the path " + SafeRepr(path.get()) : "";
}

}  // namespace

bool FormOfOther(PyObject* object, Form* form) {
  PyTypeObject* type = Py_TYPE(object);
  const Entry& known = EntryOf(type);
  bool holds = Holds(known, type);
  if (holds && !known.per_object) return form->Set(known.form);
  Ref keep = Ref::Borrow(object);
  if (holds) return Decide(object, form);
  int per_object = DefinesClass(type);
  return per_object >= 0 && Decide(object, form) && Remember(type, *form, per_object == 1);
}

PyObject* Unwrapped(PyObject* object, Form form) {
  return form.proxy ? PyObject_GetAttrString(object, "__wrapped__") : Py_NewRef(object);
}

int IsPlainNamedTuple(PyObject* object) {
  return PyTuple_Check(object) && Py_TYPE(object)->tp_base == &PyTuple_Type ? HasFields(object) : 0;
}

int SameNamedTuples(PyObject* a, PyObject* b) {
  Ref first(PyObject_GetAttrString(a, "_fields"));
  Ref second(first ? PyObject_GetAttrString(b, "_fields") : nullptr);
  int same = second ? PyObject_RichCompareBool(first.get(), second.get(), Py_EQ) : -1;
  if (same != 1) return same;
  Ref one(PyType_GetName(Py_TYPE(a))), other(one ? PyType_GetName(Py_TYPE(b)) : nullptr);
  return other ? PyObject_RichCompareBool(one.get(), other.get(), Py_EQ) : -1;
}

bool InitForms() {
  Ref abc(PyImport_ImportModule("collections.abc"));
  if (!abc) return false;
  mapping_abc = PyObject_GetAttrString(abc.get(), "Mapping");
  view_abc = mapping_abc ? PyObject_GetAttrString(abc.get(), "MappingView") : nullptr;
  sequence_abc = view_abc ? PyObject_GetAttrString(abc.get(), "Sequence") : nullptr;
  return sequence_abc != nullptr;
}

std::string DescribeForm(PyObject* object, Form form) {
  if (!form.nested) return std::string("a leaf of type ") + Py_TYPE(object)->tp_name;
  std::string name = ShapeName(object, form.shape);
  Children children;
  if (!OpenValues(object, form, &children)) {
    PyErr_Clear();
    return name;
  }
  if (form.shape == Shape::kDict || form.shape == Shape::kMapping) {
    Ref keys(PySequence_List(children.keys.get()));
    return name + " with the keys " + (keys ? SafeRepr(keys.get()) : "?");
  }
  return name + " of " + std::to_string(children.size()) +
         (children.size() == 1 ? " element" : " elements");
}

void RaiseAt(PyObject* type, const char* function, const std::vector<Ref>& place,
             const std::string& what) {
  std::string where = place.empty() ? std::string("at the root") : PathText(place);
  PyErr_Format(type, "%s: %s: %s", function, where.c_str(), what.c_str());
}

void RaiseFrom(PyObject* type, const std::string& what) {
  HeldError cause;
  PyErr_SetString(type, what.c_str());
  cause.BecomeCause();
}

bool ReadCheckTypes(const Call& call, bool* check_types) {
  for (Py_ssize_t i = 0; call.names != nullptr && i < PyTuple_GET_SIZE(call.names); ++i) {
    PyObject* name = PyTuple_GET_ITEM(call.names, i);
    if (PyUnicode_CompareWithASCIIString(name, "check_types") != 0) {
      return Raise(PyExc_ValueError, "%s() takes no keyword but check_types, and got %R.",
                   call.function, name);
    }
    int truth = PyObject_IsTrue(call.args[call.nargs + i]);
    if (truth < 0) return false;
    *check_types = truth == 1;
  }
  return true;
}

}  // namespace pax_tree::dm
