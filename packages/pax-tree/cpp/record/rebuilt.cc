// Records that JAX rebuilds of their children, for a function that is given them.
#include <utility>

#include "record/record.h"
#include "support/errors.h"
#include "support/threads.h"

namespace pax_tree {
namespace {

// What JAX's functions that call others at the top level are known by: the code object of its
// function `tree_unflatten`, and the namespaces of the modules that call it. Null without them.
struct Callers {
  PyObject* unflatten;
  PyObject* namespaces;  // a tuple of dicts
};

Mutex callers_mutex;
Callers callers = {nullptr, nullptr};

Ref CodeOf(PyFrameObject* frame) {
  return Ref(reinterpret_cast<PyObject*>(PyFrame_GetCode(frame)));
}

// Whether a record of the top level is made for a function that somebody else calls, such as a
// callback, rather than for who has asked for it.
bool IsForCall() {
  Ref unflatten, namespaces;
  {
    Lock lock(&callers_mutex);
    unflatten = Ref::Borrow(callers.unflatten);
    namespaces = Ref::Borrow(callers.namespaces);
  }
  PyFrameObject* frame = unflatten ? PyEval_GetFrame() : nullptr;
  if (frame == nullptr || CodeOf(frame).get() != unflatten.get()) return false;
  Ref back(reinterpret_cast<PyObject*>(PyFrame_GetBack(frame)));
  if (!back) return false;
  Ref globals(PyFrame_GetGlobals(reinterpret_cast<PyFrameObject*>(back.get())));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(namespaces.get()); ++i) {
    if (PyTuple_GET_ITEM(namespaces.get(), i) == globals.get()) return true;
  }
  return false;
}

}  // namespace

// One that is made in a trace, or for a call, says when it goes that a change in it was lost.
PyObject* RecordRebuild(PyObject* module, PyObject* const* args, Py_ssize_t nargs) {
  PyObject* made = RecordUnflatten(module, args, nargs);
  auto* record = reinterpret_cast<Record*>(made);
  if (made != nullptr) record->rebuilt = record->scope != nullptr || IsForCall();
  return made;
}

PyObject* SetRebuilders(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs != 2 || !PyCode_Check(args[0]) || !PyTuple_Check(args[1])) {
    return Raise(PyExc_TypeError, "_set_rebuilders takes a code object and a tuple of dicts.");
  }
  Callers next = {Py_NewRef(args[0]), Py_NewRef(args[1])};
  {
    Lock lock(&callers_mutex);
    std::swap(callers, next);
  }
  Py_XDECREF(next.unflatten);
  Py_XDECREF(next.namespaces);
  Py_RETURN_NONE;
}

namespace {

thread_local long left_unseen = -1;

// Whether what has this name is of the kind that whoever takes records apart now leaves out.
bool IsLeftUnseen(Record* self, PyObject* name) {
  if (left_unseen < 0) return false;
  Py_ssize_t at = FindChild(self->spec, name);
  return at >= 0 && KindAt(self->spec, at) == left_unseen;
}

// The names of what is watched, a list.
PyObject* Watched(Record* self) {
  CriticalSection section(reinterpret_cast<PyObject*>(self));
  bool watched = self->unseen != nullptr && PyDict_Check(self->unseen);
  return watched ? PyDict_Keys(self->unseen) : PyList_New(0);
}

// By what a later change of an attribute can be told: a child by what its class says, a static
// value that is a copy of the record's own by its frozen form. None where it cannot.
PyObject* FormOf(Record* self, PyObject* name, PyObject* value) {
  PyObject* cls = reinterpret_cast<PyObject*>(Py_TYPE(self));
  if (FindChild(self->spec, name) >= 0) return PyObject_CallMethod(cls, "_form_of", "(O)", value);
  return CanChange(value) ? Freeze(value) : Py_NewRef(Py_None);
}

// Whether an attribute is other than when `form` was made; -1 with an error set.
int Differs(Record* self, PyTypeObject* type, PyObject* name, PyObject* form) {
  Ref value = Ref::Borrow(PyDict_GetItemWithError(self->dict, name));
  if (!value) return PyErr_Occurred() ? -1 : 0;
  if (FindChild(self->spec, name) < 0) {
    Ref now(Freeze(value.get()));
    return now ? PyObject_RichCompareBool(now.get(), form, Py_NE) : -1;
  }
  PyObject* cls = reinterpret_cast<PyObject*>(type);
  Ref differs(PyObject_CallMethod(cls, "_differs", "OO", value.get(), form));
  return differs ? PyObject_IsTrue(differs.get()) : -1;
}

// The name of what was changed: that which was set, or the first that differs from its form. Null
// without an error if nothing was.
Ref Changed(Record* self, PyTypeObject* type) {
  Ref unseen(std::exchange(self->unseen, nullptr));
  if (!PyDict_Check(unseen.get()) || self->dict == nullptr) {
    return PyDict_Check(unseen.get()) ? Ref() : std::move(unseen);
  }
  PyObject *name, *form;
  Py_ssize_t position = 0;
  while (PyDict_Next(unseen.get(), &position, &name, &form)) {
    int differs = Differs(self, type, name, form);
    if (differs != 0) return differs > 0 ? Ref::Borrow(name) : Ref();
  }
  return Ref();
}

}  // namespace

bool Watch(Record* self, PyObject* name, PyObject* value) {
  {
    CriticalSection section(reinterpret_cast<PyObject*>(self));
    bool noted = self->unseen != nullptr &&
                 (!PyDict_Check(self->unseen) || PyDict_Contains(self->unseen, name) == 1);
    if (noted) return true;
  }
  Ref form(FormOf(self, name, value));
  if (!form || form.get() == Py_None) return static_cast<bool>(form);
  CriticalSection section(reinterpret_cast<PyObject*>(self));
  if (self->unseen == nullptr) self->unseen = PyDict_New();
  if (self->unseen == nullptr || !PyDict_Check(self->unseen)) return self->unseen != nullptr;
  return PyDict_SetItem(self->unseen, name, form.get()) == 0;
}

void MarkSeen(Record* self) {
  if (!self->rebuilt || self->unseen == nullptr) return;
  Ref names(Watched(self));
  CriticalSection section(reinterpret_cast<PyObject*>(self));
  if (self->unseen == nullptr) return;
  if (!PyDict_Check(self->unseen)) {
    if (!IsLeftUnseen(self, self->unseen)) Py_CLEAR(self->unseen);
    return;
  }
  for (Py_ssize_t i = 0; names && i < PyList_GET_SIZE(names.get()); ++i) {
    PyObject* name = PyList_GET_ITEM(names.get(), i);
    if (!IsLeftUnseen(self, name) && PyDict_DelItem(self->unseen, name) < 0) PyErr_Clear();
  }
}

// Only in the trace that made it: after an exception, when nothing was to be kept, it goes later.
void TellUnseen(Record* self, PyTypeObject* type) {
  Ref scope;
  if (PyErr_Occurred()) return;
  if (!CurrentScope(&scope)) return PyErr_Clear();
  if (scope.get() != self->scope) return;
  PyObject* cls = reinterpret_cast<PyObject*>(type);
  Ref name = Changed(self, type);
  if (name) Ref told(PyObject_CallMethod(cls, "_change_lost", "O", name.get()));
  if (PyErr_Occurred()) PyErr_WriteUnraisable(cls);
}

// _leave_unseen(kind): until it is called again in this thread, whoever takes records apart leaves
// children of this kind out; -1 for none. Returns what was so before.
PyObject* LeaveUnseen(PyObject*, PyObject* kind) {
  long next = PyLong_AsLong(kind);
  if (next == -1 && PyErr_Occurred()) return nullptr;
  return PyLong_FromLong(std::exchange(left_unseen, next));
}

}  // namespace pax_tree
