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

}  // namespace

bool IsLeftUnseen(Record* self) {
  if (left_unseen < 0) return false;
  Py_ssize_t at = FindChild(self->spec, self->unseen);
  return at >= 0 && KindAt(self->spec, at) == left_unseen;
}

// _leave_unseen(kind): until it is called again in this thread, whoever takes records apart leaves
// children of this kind out; -1 for none. Returns what was so before.
PyObject* LeaveUnseen(PyObject*, PyObject* kind) {
  long next = PyLong_AsLong(kind);
  if (next == -1 && PyErr_Occurred()) return nullptr;
  return PyLong_FromLong(std::exchange(left_unseen, next));
}

}  // namespace pax_tree
