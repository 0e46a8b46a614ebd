// Reading and writing the attributes of a record.
#include "core/registry.h"
#include "record/captured.h"
#include "record/objects.h"
#include "record/record.h"
#include "support/compat.h"
#include "support/errors.h"
#include "support/sequence.h"
#include "support/threads.h"

namespace pax_tree {

namespace {

// Whether the record holds this very object under a name.
bool Holds(Record* self, PyObject* name, PyObject* value) {
  CriticalSection section(reinterpret_cast<PyObject*>(self));
  return self->dict != nullptr && PyDict_GetItemWithError(self->dict, name) == value;
}

// What can be written to as it may be used in the present scope: outside of that of the record read
// only, and of a record that a kept trace has read so that it says when it is written to.
PyObject* InScope(Record* self, PyObject* name, Ref value) {
  bool same;
  if (!IsInScope(self, &same)) return nullptr;
  bool plain = same && !self->rebuilt && !IsCaptured(self);
  if (plain || !Holds(self, name, value.get())) return value.release();
  if (same && !IsCaptured(self)) {
    return Watch(self, name, value.get()) ? value.release() : nullptr;
  }
  PyObject* cls = reinterpret_cast<PyObject*>(Py_TYPE(self));
  Ref hook(PyObject_GetAttrString(cls, same ? "_telling" : "_read_only"));
  return hook ? PyObject_CallFunctionObjArgs(hook.get(), self, name, value.get(), nullptr)
              : nullptr;
}

// Notes that this attribute, and no method of the class, was read.
bool NoteRead(Record* self, PyObject* name, PyObject* value) {
  Reader reader;
  if (reader.IsAtTopLevel()) return true;
  if (PyErr_Occurred()) return false;
  return !Holds(self, name, value) || reader.Note(self);
}

}  // namespace

PyObject* RecordGetAttr(PyObject* self, PyObject* name) {
  auto* record = reinterpret_cast<Record*>(self);
  if (!FillDict(record)) return nullptr;
  Ref value(PyObject_GenericGetAttr(self, name));
  if (!value) return nullptr;
  if (record->scope == nullptr && !IsCaptured(record) && !PyCFunction_Check(value.get()) &&
      !PyMethod_Check(value.get()) && !NoteRead(record, name, value.get())) {
    return nullptr;
  }
  return MayBeWritten(value.get()) ? InScope(record, name, std::move(value)) : value.release();
}

PyObject* DictInScope(Record* self) {
  bool same;
  if (!FillDict(self) || !IsInScope(self, &same)) return nullptr;
  if (same && !self->rebuilt && !IsCaptured(self)) return Py_NewRef(self->dict);
  Ref dict(PyDict_Copy(self->dict)), items(dict ? PyDict_Items(dict.get()) : nullptr);
  for (Py_ssize_t i = 0; items && i < PyList_GET_SIZE(items.get()); ++i) {
    PyObject* name = PyTuple_GET_ITEM(PyList_GET_ITEM(items.get(), i), 0);
    PyObject* value = PyTuple_GET_ITEM(PyList_GET_ITEM(items.get(), i), 1);
    if (!MayBeWritten(value)) continue;
    Ref readable(InScope(self, name, Ref::Borrow(value)));
    if (!readable || PyDict_SetItem(dict.get(), name, readable.get()) < 0) return nullptr;
  }
  return items ? dict.release() : nullptr;
}

namespace {

enum class Outcome { kFailed, kDone, kStale };

// What a change of a record starts from.
struct Before {
  Ref spec, children;

  bool Take(Record* self) { return TakeRecord(self, &spec, &children); }
  bool Still(Record* self) const {
    return AsObject(self->spec) == spec.get() && self->children == children.get();
  }
};

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

// The children with `value` in the place of the one at `at`, or at the end.
PyObject* WithChild(PyObject* children, Py_ssize_t at, PyObject* value) {
  if (at < 0) return ResizedChildren(children, -1, value);
  PyObject* copy = ResizedChildren(children, -1, nullptr);
  if (copy == nullptr) return nullptr;
  Py_DECREF(PyTuple_GET_ITEM(copy, at));
  PyTuple_SET_ITEM(copy, at, Py_NewRef(value));
  return copy;
}

// Replaces spec and children, unless another change came in between: values may run code when they
// are compared. The attribute dict stays in step; a failure leaves spec and children as they were.
Outcome Install(Record* self, const Before& before, PyObject* name, PyObject* value, Ref* spec,
                Ref* children) {
  if (!*spec || !*children || !FillDict(self)) return Outcome::kFailed;
  CriticalSection section(reinterpret_cast<PyObject*>(self));
  if (!before.Still(self)) return Outcome::kStale;
  if (PyDict_SetItem(self->dict, name, value) < 0) return Outcome::kFailed;
  if (!before.Still(self)) return Outcome::kStale;
  PyObject* old_spec = AsObject(std::exchange(self->spec, AsSpec(spec->release())));
  PyObject* old_children = std::exchange(self->children, children->release());
  *spec = Ref(old_spec);  // dropped by the caller, who holds no lock
  *children = Ref(old_children);
  return Outcome::kDone;
}

Outcome ReplaceInPlace(PyObject* children, Py_ssize_t at, PyObject* value) {
  PyObject* old = PyTuple_GET_ITEM(children, at);
  PyTuple_SET_ITEM(children, at, Py_NewRef(value));
  if (!PyObject_GC_IsTracked(children)) PyObject_GC_Track(children);
  Py_DECREF(old);
  return Outcome::kDone;
}

// Changes one item of the children: in place when nobody else has the tuple, which cannot be seen
// from the count without a global interpreter lock.
Outcome ReplaceChild(Record* self, Py_ssize_t at, PyObject* value) {
  if (!kFreeThreaded && Py_REFCNT(self->children) == 1) {
    return ReplaceInPlace(self->children, at, value);
  }
  Ref children = Ref::Borrow(self->children);
  Ref changed(WithChild(children.get(), at, value));
  if (!changed) return Outcome::kFailed;
  if (self->children != children.get()) return Outcome::kStale;
  Ref old(std::exchange(self->children, changed.release()));
  return Outcome::kDone;
}

// Gives a child another value; its place is that in `spec`.
Outcome SetExistingChild(Record* self, PyObject* spec, Py_ssize_t at, PyObject* name,
                         PyObject* value) {
  CriticalSection section(reinterpret_cast<PyObject*>(self));
  if (AsObject(self->spec) != spec || self->children == nullptr) return Outcome::kStale;
  if (self->dict != nullptr && PyDict_SetItem(self->dict, name, value) < 0) return Outcome::kFailed;
  if (AsObject(self->spec) != spec || self->children == nullptr) return Outcome::kStale;
  return ReplaceChild(self, at, value);
}

Outcome SetChild(Record* self, const Before& before, Py_ssize_t at, PyObject* name, PyObject* value,
                 int kind) {
  Ref spec(AsObject(SpecWithChild(AsSpec(before.spec.get()), name, kind)));
  Ref children(spec ? WithChild(before.children.get(), at, value) : nullptr);
  return Install(self, before, name, value, &spec, &children);
}

Outcome SetStatic(Record* self, const Before& before, Py_ssize_t at, PyObject* name,
                  PyObject* value) {
  Ref own(Snapshot(value));
  Ref spec(own ? AsObject(SpecWithStatic(AsSpec(before.spec.get()), name, own.get())) : nullptr);
  Ref children = at >= 0 ? Ref(ResizedChildren(before.children.get(), at, nullptr))
                         : Ref::Borrow(before.children.get());
  return Install(self, before, name, value, &spec, &children);
}

// One try to set an attribute.
Outcome TrySet(Record* self, PyObject* name, PyObject* value, int kind) {
  Before before;
  if (!before.Take(self)) return Outcome::kFailed;
  RecordSpec* spec = AsSpec(before.spec.get());
  Py_ssize_t at = FindChild(spec, name);
  if (at == -2) return Outcome::kFailed;
  if (kind == kStatic) return SetStatic(self, before, at, name, value);
  if (at < 0 || KindAt(spec, at) != kind) return SetChild(self, before, at, name, value, kind);
  before.children = Ref();  // so that the record's tuple can be changed in place
  return SetExistingChild(self, before.spec.get(), at, name, value);
}

// A record that JAX rebuilt in a trace remembers the last change, until somebody takes it apart.
// One that a kept trace has read tells its class, so that the trace is not used again.
bool NoteChange(Record* self, PyObject* name) {
  if (!TellCaptured(self, name)) return false;
  if (!self->rebuilt) return true;
  CriticalSection section(reinterpret_cast<PyObject*>(self));
  Py_XSETREF(self->unseen, Py_NewRef(name));
  return true;
}

// Tries again when the record was changed meanwhile, by another thread or by the values' own code.
bool SetUntilDone(Record* self, PyObject* name, PyObject* value, int kind) {
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    Outcome outcome = TrySet(self, name, value, kind);
    if (outcome == Outcome::kDone) return NoteChange(self, name);
    if (outcome == Outcome::kFailed) return false;
  }
  return Raise(PyExc_RuntimeError, "%s.%S cannot be set, because setting it changes the record.",
               Py_TYPE(self)->tp_name, name);
}

PyObject* InternedName(PyObject* name) {
  if (!PyUnicode_CheckExact(name)) return PyUnicode_FromObject(name);
  Py_INCREF(name);
  PyUnicode_InternInPlace(&name);
  return name;
}

// The class belongs to the structure, which is shared.
Failed RefuseClass(PyObject* self) {
  return Raise(
      PyExc_TypeError,
      "%s.__class__ cannot be set, because the class of a record belongs to its structure; "
      "make an object of the other class.",
      Py_TYPE(self)->tp_name);
}

// Generic classes set this to tell their parameters, which are no part of the structure, and go on
// where it cannot be set.
Failed RefuseParameters(PyObject* self) {
  return Raise(PyExc_AttributeError, "%s keeps no __orig_class__.", Py_TYPE(self)->tp_name);
}

bool IsDunder(PyObject* name, const char* text) {
  return PyUnicode_CompareWithASCIIString(name, text) == 0;
}

Failed RefuseDelete(PyObject* self, PyObject* name) {
  return Raise(PyExc_AttributeError,
               "%s.%S cannot be deleted, because the attributes of a record are its structure; "
               "assign None instead.",
               Py_TYPE(self)->tp_name, name);
}

// The kind that a method of the class has returned, kStatic, or -2 with an error set.
int KindReturned(PyTypeObject* type, const char* method, PyObject* name, PyObject* kind) {
  if (kind == nullptr) return -2;
  if (kind == Py_None) return kStatic;
  long number = PyLong_Check(kind) ? PyLong_AsLong(kind) : -1;
  if (number >= 0 && number <= 255) return static_cast<int>(number);
  PyErr_Format(PyExc_TypeError,
               "%s.%s(%R, ...) must return None or an int from 0 to 255, but returned %R.",
               type->tp_name, method, name, kind);
  return -2;
}

// What the class says about a new name: a kind, kStatic, or -2 with an error set.
int AskKind(PyObject* self, PyObject* name, PyObject* value) {
  PyTypeObject* type = Py_TYPE(self);
  if (type == record_type) return kStatic;
  Ref hook(PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "_classify"));
  if (!hook) return -2;
  Ref kind(PyObject_CallFunctionObjArgs(hook.get(), self, name, value, nullptr));
  return KindReturned(type, "_classify", name, kind.get());
}

// Whether a record takes the place of one of its class.
bool IsOfSameClass(Record* self, PyObject* name, PyObject* value) {
  PyTypeObject* type = Py_TYPE(value);
  if (!IsRecordType(type)) return false;
  CriticalSection section(reinterpret_cast<PyObject*>(self));
  Py_ssize_t at = FindChild(self->spec, name);
  return at >= 0 && Py_TYPE(PyTuple_GET_ITEM(self->children, at)) == type;
}

// What a class that has `_classify_again` says about a child that is set to another value.
int AskKindAgain(PyObject* self, PyObject* name, PyObject* value, int kind) {
  PyTypeObject* type = Py_TYPE(self);
  if (value == Py_None || IsOfSameClass(reinterpret_cast<Record*>(self), name, value)) return kind;
  Ref key(PyUnicode_InternFromString("_classify_again"));
  Ref hook(key ? LookUpInClass(type, key.get()) : nullptr);
  if (!hook) return PyErr_Occurred() ? -2 : kind;
  Ref number(PyLong_FromLong(kind));
  if (!number) return -2;
  Ref found(PyObject_CallFunctionObjArgs(hook.get(), self, name, value, number.get(), nullptr));
  return KindReturned(type, "_classify_again", name, found.get());
}

// A property or another data descriptor of the class takes the write itself.
descrsetfunc DataDescriptor(PyObject* self, PyObject* name, Ref* descriptor) {
  *descriptor = Ref(LookUpInClass(Py_TYPE(self), name));
  return *descriptor ? Py_TYPE(descriptor->get())->tp_descr_set : nullptr;
}

// The kind of an attribute that is a child already, else -1.
int KindOfChild(Record* self, PyObject* name) {
  CriticalSection section(reinterpret_cast<PyObject*>(self));
  Py_ssize_t at = FindChild(self->spec, name);
  return at < 0 ? -1 : KindAt(self->spec, at);
}

// The value of a static attribute: the object that whoever reads the attribute gets.
Ref StaticValue(Record* self, RecordSpec* spec, PyObject* name) {
  CriticalSection section(reinterpret_cast<PyObject*>(self));
  PyObject* value = self->dict != nullptr ? PyDict_GetItemWithError(self->dict, name) : nullptr;
  if (value == nullptr) value = PyDict_GetItemWithError(spec->statics, name);
  return value == nullptr ? Ref() : Ref::Borrow(value);
}

bool RefreshStatic(Record* self, RecordSpec* spec, PyObject* name) {
  Ref value = StaticValue(self, spec, name);
  if (!value) return !PyErr_Occurred();
  if (IsUnchanged(value.get(), PyDict_GetItemWithError(spec->statics, name))) return true;
  Ref frozen(Freeze(value.get()));
  if (!frozen) return false;
  PyObject* before = FrozenStatic(spec, name);
  int same = before == nullptr ? 1 : PyObject_RichCompareBool(frozen.get(), before, Py_EQ);
  if (same != 0) return same > 0;
  int kind = AskKind(reinterpret_cast<PyObject*>(self), name, value.get());
  return kind != -2 && SetUntilDone(self, name, value.get(), kind);
}

// A value to be held, which may have been read of another record in a form that may not be written
// to.
PyObject* OwnValue(PyObject* self, PyObject* value) {
  if (!MayBeWritten(value)) return Py_NewRef(value);
  PyObject* cls = reinterpret_cast<PyObject*>(Py_TYPE(self));
  return PyObject_CallMethod(cls, "_kept_value", "(O)", value);
}

bool SetAny(PyObject* self, PyObject* name, PyObject* value) {
  auto* record = reinterpret_cast<Record*>(self);
  if (!CheckScope(record, name)) return false;
  int kind = KindOfChild(record, name);
  if (kind < 0 && IsDunder(name, "__orig_class__")) return RefuseParameters(self);
  Ref own(OwnValue(self, value));
  if (!own) return false;
  value = own.get();
  kind = kind < 0 ? AskKind(self, name, value) : AskKindAgain(self, name, value, kind);
  return kind != -2 && SetUntilDone(record, name, value, kind);
}

}  // namespace

bool SetAttribute(Record* self, PyObject* name, PyObject* value, int kind) {
  return SetUntilDone(self, name, value, kind);
}

bool RefreshStatics(Record* self, RecordSpec* spec) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(spec->mutables); ++i) {
    PyObject* name = PyTuple_GET_ITEM(spec->mutables, i);
    if (!RefreshStatic(self, spec, name)) return false;
  }
  return true;
}

int RecordSetAttr(PyObject* self, PyObject* name, PyObject* value) {
  if (!PyUnicode_Check(name)) {
    return Raise(PyExc_TypeError, "An attribute name must be a str, but got %R.", name);
  }
  Ref owned(InternedName(name)), descriptor;
  if (!owned) return -1;
  if (descrsetfunc set = DataDescriptor(self, owned.get(), &descriptor)) {
    if (IsDunder(owned.get(), "__class__")) return RefuseClass(self);
    return set(descriptor.get(), self, value);
  }
  if (value == nullptr) return RefuseDelete(self, name);
  return SetAny(self, owned.get(), value) ? 0 : -1;
}

}  // namespace pax_tree
