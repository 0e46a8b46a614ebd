// The Python type RecordSpec.
#include "record/spec.h"

#include <structmember.h>

#include <cstddef>

#include "core/keys.h"
#include "record/record.h"
#include "support/arguments.h"
#include "support/compat.h"
#include "support/errors.h"
#include "support/sequence.h"

namespace pax_tree {
namespace {

// The dict of other libraries' keys, a new reference.
PyObject* ForeignKeys(RecordSpec* spec) {
  Lock lock(&spec->mutex);
  if (spec->foreign == nullptr) spec->foreign = PyDict_New();
  return Py_XNewRef(spec->foreign);
}

int Traverse(PyObject* self, visitproc visit, void* arg) {
  RecordSpec* spec = AsSpec(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(spec->cls);
  Py_VISIT(spec->statics);
  Py_VISIT(spec->frozen);
  Py_VISIT(spec->mutables);
  Py_VISIT(spec->foreign);
  Py_VISIT(spec->ancestor);
  return 0;
}

// Breaks cycles through static values; names, kinds and class stay, so the spec stays readable.
int Clear(PyObject* self) {
  RecordSpec* spec = AsSpec(self);
  ForgetSpec(spec);
  for (auto& t : spec->transitions) {
    Ref name(t.name), target(t.target);
    t = {};
  }
  Py_CLEAR(spec->ancestor);
  Py_CLEAR(spec->foreign);
  Py_CLEAR(spec->frozen);
  if (spec->statics != nullptr) PyDict_Clear(spec->statics);
  return 0;
}

void Dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  RecordSpec* spec = AsSpec(self);
  PyObject_GC_UnTrack(self);
  ForgetSpec(spec);
  if (spec->weakrefs != nullptr) PyObject_ClearWeakRefs(self);
  Clear(self);
  Py_CLEAR(spec->keys);
  Py_CLEAR(spec->names);
  Py_CLEAR(spec->kinds);
  Py_CLEAR(spec->mutables);
  Py_CLEAR(spec->index);
  Py_CLEAR(spec->statics);
  Py_CLEAR(spec->cls);
  type->tp_free(self);
  Py_DECREF(type);
}

Py_hash_t Hash(PyObject* self) { return AsSpec(self)->hash; }

PyObject* KindsTuple(RecordSpec* spec) {
  return MakeTuple(NumChildren(spec),
                   [spec](Py_ssize_t i) { return PyLong_FromLong(KindAt(spec, i)); });
}

PyObject* GetKinds(PyObject* self, void*) { return KindsTuple(AsSpec(self)); }
PyObject* GetStatics(PyObject* self, void*) { return Snapshot(AsSpec(self)->statics); }

// Linear(weight, bias, training=True)
PyObject* Repr(PyObject* self) {
  RecordSpec* spec = AsSpec(self);
  Ref parts(PyList_New(0)), comma(PyUnicode_FromString(", "));
  if (!parts || !comma) return nullptr;
  for (Py_ssize_t i = 0; i < NumChildren(spec); ++i) {
    if (PyList_Append(parts.get(), PyTuple_GET_ITEM(spec->names, i)) < 0) return nullptr;
  }
  Ref statics(PyDict_Items(spec->statics));
  for (Py_ssize_t i = 0; statics && i < PyList_GET_SIZE(statics.get()); ++i) {
    PyObject* pair = PyList_GET_ITEM(statics.get(), i);
    Ref part(PyUnicode_FromFormat("%U=%R", PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1)));
    if (!part || PyList_Append(parts.get(), part.get()) < 0) return nullptr;
  }
  Ref text(statics ? PyUnicode_Join(comma.get(), parts.get()) : nullptr);
  if (!text) return nullptr;
  Ref name(PyObject_GetAttrString(reinterpret_cast<PyObject*>(spec->cls), "__qualname__"));
  return name ? PyUnicode_FromFormat("%S(%U)", name.get(), text.get()) : nullptr;
}

PyObject* GuardedRepr(PyObject* self) {
  if (Py_EnterRecursiveCall(" while printing a RecordSpec") != 0) return nullptr;
  PyObject* text = Repr(self);
  Py_LeaveRecursiveCall();
  return text;
}

PyObject* Reduce(PyObject* self, PyObject*) {
  RecordSpec* spec = AsSpec(self);
  Ref make(Import("pax_tree._C", "_make_spec"));
  Ref kinds(KindsTuple(spec));
  if (!make || !kinds) return nullptr;
  return Py_BuildValue("O(OOOO)", make.get(), spec->cls, spec->names, kinds.get(), spec->statics);
}

PyObject* WithStatic(PyObject* self, PyObject* args) {
  PyObject *name, *value;
  if (!PyArg_ParseTuple(args, "UO:with_static", &name, &value)) return nullptr;
  Py_INCREF(name);
  PyUnicode_InternInPlace(&name);
  Ref owned(name), own(Snapshot(value));
  return own ? AsObject(SpecWithStatic(AsSpec(self), name, own.get())) : nullptr;
}

// The bytes of a sequence of `count` kinds.
PyObject* KindBytes(PyObject* kinds, Py_ssize_t count) {
  Ref items(FirstAsTuple(kinds, count + 1));
  if (!items) return nullptr;
  if (PyTuple_GET_SIZE(items.get()) != count) {
    return Raise(PyExc_ValueError,
                 "A record spec with %zd children needs as many kinds, but got %zd.", count,
                 PyTuple_GET_SIZE(items.get()));
  }
  return PyBytes_FromObject(items.get());
}

PyObject* WithKinds(PyObject* self, PyObject* kinds) {
  RecordSpec* spec = AsSpec(self);
  Ref bytes(KindBytes(kinds, NumChildren(spec)));
  Ref statics(PyDict_Copy(spec->statics));  // each spec clears its own when it dies
  if (!bytes || !statics) return nullptr;
  return AsObject(InternSpec(spec->cls, spec->names, bytes.get(), statics.get(), spec->frozen));
}

PyMethodDef methods[] = {
    {"with_static", WithStatic, METH_VARARGS,
     "with_static(name, value)\n--\n\nThe spec in which the attribute `name` is static with this "
     "value.\n\nA child of that name is no longer one."},
    {"with_kinds", WithKinds, METH_O,
     "with_kinds(kinds)\n--\n\nThe spec with other kinds: one small int per child."},
    {"__reduce__", Reduce, METH_NOARGS, "Pickle support."},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"cls", T_OBJECT, offsetof(RecordSpec, cls), READONLY, "The class of the record."},
    {"names", T_OBJECT, offsetof(RecordSpec, names), READONLY, "The names of the children."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(RecordSpec, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyGetSetDef getset[] = {
    {"kinds", GetKinds, nullptr, "The kinds of the children, small ints.", nullptr},
    {"statics", GetStatics, nullptr, "A copy of the static attributes, by name.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

constexpr char kDoc[] =
    R"(The static structure of a record: class, names and kinds of the children, static values.

Specs are interned: equal structures are one object, so `==` is an identity check.)";

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>(kDoc)},
    {Py_tp_traverse, reinterpret_cast<void*>(Traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(Clear)},
    {Py_tp_dealloc, reinterpret_cast<void*>(Dealloc)},
    {Py_tp_hash, reinterpret_cast<void*>(Hash)},
    {Py_tp_repr, reinterpret_cast<void*>(GuardedRepr)},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, getset},
    {0, nullptr},
};

PyType_Spec type_spec = {
    "pax_tree.RecordSpec", sizeof(RecordSpec), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

}  // namespace

PyTypeObject* record_spec_type = nullptr;

Py_ssize_t FindChild(RecordSpec* spec, PyObject* name) {
  Py_ssize_t n = NumChildren(spec);
  if (n <= 8) {
    for (Py_ssize_t i = 0; i < n; ++i) {
      if (PyTuple_GET_ITEM(spec->names, i) == name) return i;
    }
  }
  PyObject* position = PyDict_GetItemWithError(spec->index, name);
  if (position == nullptr) return PyErr_Occurred() ? -2 : -1;
  Py_ssize_t at = PyLong_AsSsize_t(position);
  return at < n && PyTuple_GET_ITEM(spec->names, at) == name ? at : -1;
}

PyObject* SpecKeys(RecordSpec* spec) {
  Lock lock(&spec->mutex);
  if (spec->keys == nullptr) spec->keys = MakeKeys(get_attr_key_type, spec->names);
  return spec->keys;
}

PyObject* SpecForeignKeys(RecordSpec* spec, PyObject* key_type) {
  Ref foreign(ForeignKeys(spec));
  if (!foreign) return nullptr;
  PyObject* known = LookUp(foreign.get(), key_type);
  if (known != nullptr || PyErr_Occurred()) return known;
  Ref keys(MakeTuple(NumChildren(spec), [=](Py_ssize_t i) {
    return PyObject_CallOneArg(key_type, PyTuple_GET_ITEM(spec->names, i));
  }));
  if (!keys || PyDict_SetItem(foreign.get(), key_type, keys.get()) < 0) return nullptr;
  return keys.release();
}

namespace {

// The names of children, interned; an error where one is there twice.
PyObject* ChildNames(PyObject* given) {
  Ref names(MakeTuple(PyTuple_GET_SIZE(given), [given](Py_ssize_t i) {
    PyObject* name = Py_NewRef(PyTuple_GET_ITEM(given, i));
    if (PyUnicode_CheckExact(name)) PyUnicode_InternInPlace(&name);
    return name;
  }));
  Ref distinct(names ? PySet_New(names.get()) : nullptr);
  if (!distinct) return nullptr;
  if (PySet_GET_SIZE(distinct.get()) == PyTuple_GET_SIZE(given)) return names.release();
  return Raise(PyExc_TypeError, "A spec is made of names that differ.");
}

}  // namespace

PyObject* MakeSpec(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs != 4 || !PyType_Check(args[0]) || !PyTuple_Check(args[1]) || !PyDict_Check(args[3]) ||
      !IsRecordType(reinterpret_cast<PyTypeObject*>(args[0]))) {
    return Raise(PyExc_TypeError, "A spec is made of a Record class, names, kinds, statics.");
  }
  auto* cls = reinterpret_cast<PyTypeObject*>(args[0]);
  Ref kinds(KindBytes(args[2], PyTuple_GET_SIZE(args[1])));
  Ref names(kinds ? ChildNames(args[1]) : nullptr), statics(PyDict_New()), none(PyTuple_New(0));
  if (!names || !statics || !none) return nullptr;
  Ref spec(AsObject(InternSpec(cls, names.get(), kinds.get(), statics.get(), none.get())));
  PyObject *name, *value;
  Py_ssize_t position = 0;
  while (spec && PyDict_Next(args[3], &position, &name, &value)) {
    Ref held_name = Ref::Borrow(name), held_value = Ref::Borrow(value);
    spec = Ref(AsObject(SpecWithStatic(AsSpec(spec.get()), name, value)));
  }
  return spec.release();
}

bool InitRecordSpec(PyObject* module) {
  record_spec_type = AddType(module, &type_spec);
  return record_spec_type != nullptr;
}

}  // namespace pax_tree
