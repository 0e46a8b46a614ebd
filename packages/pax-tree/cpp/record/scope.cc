// Who may write to a record: only the scope that made it.
#include "record/record.h"
#include "support/arguments.h"
#include "support/errors.h"
#include "support/threads.h"

namespace pax_tree {
namespace {

// What set_scope_hook was given; both null without a hook. Never changed in place, so that a thread
// that has read the pair may go on with it.
struct Source {
  PyObject* hook;
  PyObject* top_level;
};

Mutex source_mutex;
Source source = {nullptr, nullptr};
std::atomic<bool> hooked{false};  // whether there is a hook

struct HeldSource {
  HeldSource() {
    Lock lock(&source_mutex);
    hook = Ref::Borrow(source.hook);
    top_level = Ref::Borrow(source.top_level);
  }
  Ref hook, top_level;
};

// A scope is known by the weak reference to its token. Python makes one for each token, and returns
// it again for as long as it lives. Each record holds the one of its scope, so that it lives as
// long as the record, and the reference to a later token is another object.
bool SameScope(PyObject* a, PyObject* b) { return a == b; }

bool RaiseScopeError(Record* self, PyObject* name) {
  PyObject* object = reinterpret_cast<PyObject*>(self);
  Ref hook(PyObject_GetAttrString(reinterpret_cast<PyObject*>(Py_TYPE(self)), "_scope_error"));
  Ref error(hook ? PyObject_CallFunctionObjArgs(hook.get(), object, name, nullptr) : nullptr);
  if (!error) return false;
  if (PyExceptionInstance_Check(error.get())) {
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
  } else {
    PyErr_Format(PyExc_TypeError, "%s._scope_error must return an exception, but returned %R.",
                 Py_TYPE(self)->tp_name, error.get());
  }
  return false;
}

}  // namespace

bool CurrentScope(Ref* scope) {
  if (!hooked.load(kObserve)) return true;
  HeldSource now;
  if (!now.hook) return true;
  Ref token(PyObject_CallNoArgs(now.hook.get()));
  if (!token) return false;
  if (token.get() == Py_None || token.get() == now.top_level.get()) return true;
  *scope = Ref(PyWeakref_NewRef(token.get(), nullptr));
  return static_cast<bool>(*scope);
}

bool IsInScope(Record* self, bool* same) {
  Ref scope;
  *same = true;
  if (!hooked.load(kObserve)) return true;
  if (!CurrentScope(&scope)) return false;
  *same = SameScope(self->scope, scope.get());
  return true;
}

bool CheckScope(Record* self, PyObject* name) {
  bool same;
  return IsInScope(self, &same) && (same || RaiseScopeError(self, name));
}

PyObject* SetScopeHook(const Call& call) {
  PyObject *hook = nullptr, *top_level = nullptr;
  if (!Read(call, {{"hook", &hook}, {"top_level", &top_level}}, 2, 1)) return nullptr;
  if (hook != Py_None && !PyCallable_Check(hook)) {
    return Raise(PyExc_TypeError, "set_scope_hook takes a function or None, but got %R.", hook);
  }
  Source next = {nullptr, nullptr};
  if (hook != Py_None) {
    next = {Py_NewRef(hook), Py_NewRef(top_level == nullptr ? Py_None : top_level)};
  }
  Lock lock(&source_mutex);
  std::swap(source, next);
  hooked.store(source.hook != nullptr, kPublish);
  if (next.hook == nullptr) return PyTuple_Pack(2, Py_None, Py_None);
  return Py_BuildValue("(NN)", next.hook, next.top_level);
}

}  // namespace pax_tree
