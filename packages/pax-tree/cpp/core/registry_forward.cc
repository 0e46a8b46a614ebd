// Functions for registries that can neither forget nor replace what they were given once: they call
// those with which a class is registered here at the time.
#include "tree/functions.h"
#include "support/ref.h"
#include "core/registry.h"

namespace pax_tree {
namespace {

Registration* RegistrationOf(PyObject* type) {
  return LastRegistration(reinterpret_cast<PyTypeObject*>(type));
}

PyObject* ForwardFlatten(PyObject* type, PyObject* object) {
  Ref flatten = Ref::Borrow(RegistrationOf(type)->flatten);
  return PyObject_CallOneArg(flatten.get(), object);
}

PyObject* ForwardUnflatten(PyObject* type, PyObject* const* args, Py_ssize_t nargs) {
  Ref unflatten = Ref::Borrow(RegistrationOf(type)->unflatten);
  return PyObject_Vectorcall(unflatten.get(), args, static_cast<size_t>(nargs), nullptr);
}

PyMethodDef flatten = {"flatten", ForwardFlatten, METH_O, nullptr};
PyMethodDef unflatten = {"unflatten", FastCall(ForwardUnflatten), METH_FASTCALL, nullptr};

}  // namespace

// _forwarders(cls): the pair (flatten, unflatten) of a class that is or was registered here.
PyObject* Forwarders(PyObject*, PyObject* type) {
  if (!PyType_Check(type) || RegistrationOf(type) == nullptr) {
    return PyErr_Format(PyExc_TypeError, "%R was never registered here.", type);
  }
  Ref first(PyCFunction_New(&flatten, type)), second(PyCFunction_New(&unflatten, type));
  return first && second ? PyTuple_Pack(2, first.get(), second.get()) : nullptr;
}

}  // namespace pax_tree
