// The Python type Record, with copies and pickles.
#include "record/record.h"

#include <structmember.h>

#include <cstddef>
#include <utility>

#include "record/attribute_dict.h"
#include "record/captured.h"
#include "record/objects.h"
#include "support/arguments.h"
#include "support/errors.h"
#include "support/sequence.h"
#include "support/threads.h"

namespace pax_tree {
namespace {

// A tuple of `count` times None.
PyObject* Nones(Py_ssize_t count) {
  return MakeTuple(count, [](Py_ssize_t) { return Py_NewRef(Py_None); });
}

// The attributes by name.
PyObject* AttributeDict(RecordSpec* spec, PyObject* children) {
  Ref dict(Snapshot(spec->statics));
  for (Py_ssize_t i = 0; dict && i < NumChildren(spec); ++i) {
    PyObject* name = PyTuple_GET_ITEM(spec->names, i);
    if (PyDict_SetItem(dict.get(), name, PyTuple_GET_ITEM(children, i)) < 0) return nullptr;
  }
  return dict.release();
}

bool HasDict(Record* self) {
  CriticalSection section(reinterpret_cast<PyObject*>(self));
  return self->dict != nullptr;
}

// The children for another scope, which must not write to those of the record.
PyObject* HandOut(Record* self, PyObject* children) {
  PyObject* cls = reinterpret_cast<PyObject*>(Py_TYPE(self));
  if (!MayBeWritten(children)) return Py_NewRef(children);
  return MakeTuple(PyTuple_GET_SIZE(children), [&](Py_ssize_t i) {
    PyObject* child = PyTuple_GET_ITEM(children, i);
    if (!MayBeWritten(child)) return Py_NewRef(child);
    return PyObject_CallMethod(cls, "_handed_out", "(O)", child);
  });
}

bool RefuseArguments(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  if (type->tp_init != PyBaseObject_Type.tp_init) return true;
  if (PyTuple_GET_SIZE(args) == 0 && (kwargs == nullptr || PyDict_GET_SIZE(kwargs) == 0))
    return true;
  return Raise(PyExc_TypeError, "%s() takes no arguments, because it defines no __init__.",
               type->tp_name);
}

// An abstract class is refused as object refuses it; Python does not tell which the methods are.
bool RefuseAbstract(PyTypeObject* type) {
  if (!PyType_HasFeature(type, Py_TPFLAGS_IS_ABSTRACT)) return true;
  Ref none(PyTuple_New(0));
  Ref made(none ? PyBaseObject_Type.tp_new(type, none.get(), nullptr) : nullptr);
  return false;
}

PyObject* New(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  if (!RefuseAbstract(type)) return nullptr;
  if (!RefuseArguments(type, args, kwargs)) return nullptr;
  Ref spec(AsObject(RootSpec(type)));
  if (!spec) return nullptr;
  Ref self(MakeRecord(AsSpec(spec.get()), PyTuple_New(0)));
  if (!self || !FillDict(reinterpret_cast<Record*>(self.get()))) return nullptr;
  return self.release();
}

int Traverse(PyObject* self, visitproc visit, void* arg) {
  auto* record = reinterpret_cast<Record*>(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(record->spec);
  Py_VISIT(record->children);
  Py_VISIT(record->dict);
  Py_VISIT(record->unseen);
  return 0;
}

// Breaks cycles and leaves a record without children or attributes that is still safe to touch.
int Clear(PyObject* self) {
  auto* record = reinterpret_cast<Record*>(self);
  Py_CLEAR(record->dict);
  Py_CLEAR(record->children);
  if (record->unseen != nullptr && PyDict_Check(record->unseen)) Py_CLEAR(record->unseen);
  return 0;
}

void Dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  auto* record = reinterpret_cast<Record*>(self);
  PyObject_GC_UnTrack(self);
  if (record->unseen != nullptr) TellUnseen(record, type);
  if (record->weakrefs != nullptr) PyObject_ClearWeakRefs(self);
  Clear(self);
  Py_CLEAR(record->scope);
  Py_CLEAR(record->spec);
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* GetDict(PyObject* self, void*) {
  auto* record = reinterpret_cast<Record*>(self);
  Reader reader;
  Ref dict(reader.Note(record) ? DictInScope(record) : nullptr);
  return dict ? NewAttributeDict(dict.get()) : nullptr;
}

PyObject* Classify(PyObject*, PyObject* args) {
  PyObject *name, *value;
  if (!PyArg_ParseTuple(args, "UO:_classify", &name, &value)) return nullptr;
  Py_RETURN_NONE;
}

PyObject* ScopeError(PyObject* self, PyObject* name) {
  Ref message(PyUnicode_FromFormat(
      "%s.%S was made in another scope than the one that sets it now; take a copy, change the copy "
      "and return it.",
      Py_TYPE(self)->tp_name, name));
  return message ? PyObject_CallOneArg(PyExc_RuntimeError, message.get()) : nullptr;
}

PyObject* ReadOnly(PyObject*, PyObject* args) {
  PyObject *name, *value;
  if (!PyArg_ParseTuple(args, "UO:_read_only", &name, &value)) return nullptr;
  return Py_NewRef(value);
}

// What object has, and the attributes.
PyObject* Dir(PyObject* self, PyObject*) {
  if (!FillDict(reinterpret_cast<Record*>(self))) return nullptr;
  Ref object_dir(
      PyObject_GetAttrString(reinterpret_cast<PyObject*>(&PyBaseObject_Type), "__dir__"));
  Ref names(object_dir ? PyObject_CallOneArg(object_dir.get(), self) : nullptr);
  Ref all(names ? PySet_New(names.get()) : nullptr), own;
  {
    CriticalSection section(self);
    own = Ref(PyDict_Keys(reinterpret_cast<Record*>(self)->dict));
  }
  for (Py_ssize_t i = 0; all && own && i < PyList_GET_SIZE(own.get()); ++i) {
    if (PySet_Add(all.get(), PyList_GET_ITEM(own.get(), i)) < 0) return nullptr;
  }
  return all && own ? PySequence_List(all.get()) : nullptr;
}

PyObject* Telling(PyObject*, PyObject* args) {
  PyObject *name, *value;
  if (!PyArg_ParseTuple(args, "UO:_telling", &name, &value)) return nullptr;
  return Py_NewRef(value);
}

PyObject* FormOf(PyObject*, PyObject*) { Py_RETURN_NONE; }
PyObject* Differs(PyObject*, PyObject*) { Py_RETURN_FALSE; }
PyObject* HandedOut(PyObject*, PyObject* value) { return Py_NewRef(value); }
PyObject* Own(PyObject*, PyObject* value) { return Py_NewRef(value); }
PyObject* ChangeLost(PyObject*, PyObject*) { Py_RETURN_NONE; }
PyObject* IsKept(PyObject*, PyObject*) { Py_RETURN_FALSE; }
PyObject* CapturedChanged(PyObject*, PyObject*) { Py_RETURN_NONE; }

// Tells the Python side about the new class, which enters it into other libraries' registries.
PyObject* InitSubclass(PyObject* cls, PyObject* args, PyObject* kwargs) {
  Ref super(PyObject_CallFunctionObjArgs(reinterpret_cast<PyObject*>(&PySuper_Type),
                                         reinterpret_cast<PyObject*>(record_type), cls, nullptr));
  Ref next(super ? PyObject_GetAttrString(super.get(), "__init_subclass__") : nullptr);
  Ref done(next ? PyObject_Call(next.get(), args, kwargs) : nullptr);
  if (!done) return nullptr;
  Ref module(PyImport_ImportModule("pax_tree._interop.registry"));
  return module ? PyObject_CallMethod(module.get(), "publish_record", "O", cls) : nullptr;
}

PyMethodDef methods[] = {
    {"_classify", Classify, METH_VARARGS,
     "_classify(name, value)\n--\n\nThe kind (0 to 255) of a new child attribute, or None for a "
     "static one.\n\nSubclasses override it; it is asked for names that are not children yet."},
    {"_scope_error", ScopeError, METH_O,
     "_scope_error(name)\n--\n\nThe exception to raise when `name` is set in another scope than "
     "the "
     "one that made the record."},
    {"_read_only", ReadOnly, METH_VARARGS,
     "_read_only(name, value)\n--\n\nWhat reading a list, dict, set or deque gives outside of the "
     "scope "
     "that made the record."},
    {"_telling", Telling, METH_VARARGS,
     "_telling(name, value)\n--\n\nWhat reading what may be written to gives of a record that a "
     "kept "
     "trace has read: something that says when it is written to."},
    {"_kept_value", Own, METH_O | METH_CLASS,
     "_kept_value(value)\n--\n\nWhat is held when a value is set: not what `_read_only` or "
     "`_telling` "
     "made."},
    {"_form_of", FormOf, METH_O | METH_CLASS,
     "_form_of(value)\n--\n\nBy what a later change of a child can be told; None: by nothing."},
    {"_differs", Differs, METH_VARARGS | METH_CLASS,
     "_differs(value, form)\n--\n\nWhether a child is other than when `_form_of` returned this."},
    {"_handed_out", HandedOut, METH_O | METH_CLASS,
     "_handed_out(value)\n--\n\nWhat a list, a dict or another child that can be written to is for "
     "who takes "
     "the record apart outside of the scope that made it."},
    {"__dir__", Dir, METH_NOARGS, "The names of the attributes and of what the class has."},
    {"_change_lost", ChangeLost, METH_O | METH_CLASS,
     "_change_lost(name)\n--\n\nCalled when a record goes that JAX rebuilt in a trace, in which "
     "`name` was set, and that was not taken apart since."},
    {"_is_kept", IsKept, METH_NOARGS | METH_CLASS,
     "_is_kept()\n--\n\nWhether what the present trace reads of a record of the top level stays "
     "in "
     "it as a constant."},
    {"_captured_changed", CapturedChanged, METH_O | METH_CLASS,
     "_captured_changed(name)\n--\n\nCalled when a record was set that a trace had read as a "
     "constant."},
    {"__init_subclass__", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(InitSubclass)),
     METH_VARARGS | METH_KEYWORDS | METH_CLASS, "Makes the subclass a node for every library."},
    {"__copy__", RecordCopy, METH_NOARGS, "A record of the same structure and children."},
    {"__deepcopy__", RecordDeepCopy, METH_O, "A record of the same structure, children copied."},
    {"__reduce_ex__", RecordReduce, METH_O, "Pickle support."},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Record, weakrefs), READONLY, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(Record, dict), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyGetSetDef getset[] = {
    {"__dict__", GetDict, nullptr, "The attributes by name, only to be read.", nullptr},
    // Type[int](...) would set it: no attribute, for it must not be part of the structure.
    {"__orig_class__", nullptr, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

constexpr char kDoc[] =
    R"(An attribute object that is a node of trees: children are attributes, the rest is static.

Subclasses override `_classify(name, value)` to say which new attributes are children, and may
define `_classify_again(name, value, kind)` to say what a child becomes that is set to another value.

Example:
    >>> import pax_tree
    >>> class Point(pax_tree.Record):
    ...     def __init__(self, x, y):
    ...         self.x = x
    ...         self.y = y
    ...         self.unit = "m"
    ...
    ...     def _classify(self, name, value):
    ...         return 0 if isinstance(value, float) else None
    >>> pax_tree.tree_leaves(Point(1.0, 2.0))
    [1.0, 2.0]
    >>> doubled = pax_tree.tree_map(lambda leaf: 2 * leaf, Point(1.0, 2.0))
    >>> doubled.y, doubled.unit
    (4.0, 'm')
)";

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>(kDoc)},
    {Py_tp_new, reinterpret_cast<void*>(New)},
    {Py_tp_traverse, reinterpret_cast<void*>(Traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(Clear)},
    {Py_tp_dealloc, reinterpret_cast<void*>(Dealloc)},
    {Py_tp_getattro, reinterpret_cast<void*>(RecordGetAttr)},
    {Py_tp_setattro, reinterpret_cast<void*>(RecordSetAttr)},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, getset},
    {0, nullptr},
};

PyType_Spec type_spec = {"pax_tree.Record", sizeof(Record), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

PyObject* RecordCopy(PyObject* self, PyObject*) {
  Ref spec, children;
  Reader reader;
  if (!TakeCurrent(reinterpret_cast<Record*>(self), &reader, &spec, &children)) return nullptr;
  return MakeRecord(AsSpec(spec.get()), children.release());
}

// The copy enters the memo before its children are copied, so that a child may refer to it.
PyObject* RecordDeepCopy(PyObject* self, PyObject* memo) {
  Ref spec, children;
  Reader reader;
  if (!TakeCurrent(reinterpret_cast<Record*>(self), &reader, &spec, &children)) return nullptr;
  Ref copy(MakeRecord(AsSpec(spec.get()), Nones(PyTuple_GET_SIZE(children.get()))));
  Ref id(PyLong_FromVoidPtr(self));
  if (!copy || !id || PyObject_SetItem(memo, id.get(), copy.get()) < 0) return nullptr;
  Ref module(PyImport_ImportModule("copy"));
  Ref copied(module ? PyObject_CallMethod(module.get(), "deepcopy", "OO", children.get(), memo)
                    : nullptr);
  if (!copied) return nullptr;
  auto* result = reinterpret_cast<Record*>(copy.get());
  CriticalSection section(copy.get());
  Ref nones(result->children);
  result->children = copied.release();
  Py_CLEAR(result->dict);
  return copy.release();
}

PyObject* RecordReduce(PyObject* self, PyObject*) {
  Ref spec, children;
  Reader reader;
  if (!TakeCurrent(reinterpret_cast<Record*>(self), &reader, &spec, &children)) return nullptr;
  Ref make(Import("pax_tree._C", "record_unflatten"));
  if (!make) return nullptr;
  return Py_BuildValue("O(OO)", make.get(), spec.get(), children.get());
}

PyTypeObject* record_type = nullptr;

PyObject* MakeRecord(RecordSpec* spec, PyObject* children) {
  Ref owned(children), scope;
  if (!owned || !CurrentScope(&scope)) return nullptr;
  auto* self = reinterpret_cast<Record*>(spec->cls->tp_alloc(spec->cls, 0));
  if (self == nullptr) return nullptr;
  self->spec = AsSpec(Py_NewRef(AsObject(spec)));
  self->children = owned.release();
  self->scope = scope.release();
  return reinterpret_cast<PyObject*>(self);
}

bool TakeRecord(Record* self, Ref* spec, Ref* children) {
  CriticalSection section(reinterpret_cast<PyObject*>(self));
  *spec = Ref::Borrow(AsObject(self->spec));
  *children = Ref::Borrow(self->children);
  if (*children) return true;
  return Raise(PyExc_ReferenceError, "The record is being collected as garbage.");
}

bool TakeCurrent(Record* self, Reader* reader, Ref* spec, Ref* children) {
  if (!reader->Note(self) || !TakeRecord(self, spec, children)) return false;
  if (AsSpec(spec->get())->mutables != nullptr) {
    if (!RefreshStatics(self, AsSpec(spec->get())) || !TakeRecord(self, spec, children)) {
      return false;
    }
  }
  MarkSeen(self);
  if (reader->IsWhereMade(self)) return PyErr_Occurred() == nullptr;
  *children = Ref(HandOut(self, children->get()));
  return static_cast<bool>(*children);
}

bool FillDict(Record* self) {
  while (!HasDict(self)) {
    Ref spec, children;
    if (!TakeRecord(self, &spec, &children)) return false;
    Ref dict(AttributeDict(AsSpec(spec.get()), children.get()));
    if (!dict) return false;
    CriticalSection section(reinterpret_cast<PyObject*>(self));
    bool same = self->children == children.get() && AsObject(self->spec) == spec.get();
    if (self->dict == nullptr && same) self->dict = dict.release();
  }
  return true;
}

bool InitRecord(PyObject* module) {
  record_type = AddType(module, &type_spec);
  return record_type != nullptr && InitAttributeDict();
}

}  // namespace pax_tree
