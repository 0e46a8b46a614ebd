// Who may write to a record: only the scope that made it.
#include "pax_tree/record.h"

namespace pax_tree {
namespace {

PyObject* scope_hook = nullptr;

PyObject* Referent(PyObject* weak) { return weak == nullptr ? Py_None : PyWeakref_GetObject(weak); }

bool SameScope(PyObject* a, PyObject* b) {
  if (a == b) return true;
  if (a == nullptr || b == nullptr) return false;
  return Referent(a) == Referent(b) && Referent(a) != Py_None;
}

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
  if (scope_hook == nullptr) return true;
  Ref hook = Ref::Borrow(scope_hook), token(PyObject_CallNoArgs(hook.get()));
  if (!token) return false;
  if (token.get() == Py_None) return true;
  *scope = Ref(PyWeakref_NewRef(token.get(), nullptr));
  return static_cast<bool>(*scope);
}

bool CheckScope(Record* self, PyObject* name) {
  Ref scope;
  if (scope_hook == nullptr) return true;
  if (!CurrentScope(&scope)) return false;
  return SameScope(self->scope, scope.get()) || RaiseScopeError(self, name);
}

PyObject* SetScopeHook(PyObject*, PyObject* hook) {
  if (hook != Py_None && !PyCallable_Check(hook)) {
    return PyErr_Format(PyExc_TypeError, "set_scope_hook takes a function or None, but got %R.",
                        hook);
  }
  PyObject* previous = scope_hook == nullptr ? Py_NewRef(Py_None) : scope_hook;
  scope_hook = hook == Py_None ? nullptr : Py_NewRef(hook);
  return previous;
}

}  // namespace pax_tree
