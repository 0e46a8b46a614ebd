#include "scope.h"

namespace py = pybind11;

namespace bridge {
namespace {

// Owned for the life of the process.
PyObject* is_grad_enabled = nullptr;
PyObject* set_grad_enabled = nullptr;
PyObject* forbid_execution = nullptr;
PyObject* restore_execution = nullptr;
PyObject* enter_stream = nullptr;
PyObject* leave_stream = nullptr;

py::object Checked(PyObject* result) {
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

// Called while scopes end, perhaps because of an exception, which stays the current one.
void CallKeepingException(PyObject* function, PyObject* argument) {
  py::error_scope keep;
  PyObject* result = PyObject_CallOneArg(function, argument);
  if (result == nullptr) PyErr_WriteUnraisable(function);
  Py_XDECREF(result);
}

}  // namespace

void UseCallScope(py::object is_enabled, py::object set_enabled, py::object forbid,
                  py::object restore) {
  is_grad_enabled = is_enabled.release().ptr();
  set_grad_enabled = set_enabled.release().ptr();
  forbid_execution = forbid.release().ptr();
  restore_execution = restore.release().ptr();
}

void UseStreamScope(py::object enter, py::object leave) {
  enter_stream = enter.release().ptr();
  leave_stream = leave.release().ptr();
}

CallScope::CallScope() {
  grad_enabled_ = Checked(PyObject_CallNoArgs(is_grad_enabled));
  execution_ = Checked(PyObject_CallNoArgs(forbid_execution));
  if (grad_enabled_.ptr() == Py_False) return;
  PyObject* done = PyObject_CallOneArg(set_grad_enabled, Py_False);
  if (done == nullptr) {
    CallKeepingException(restore_execution, execution_.ptr());
    throw py::error_already_set();
  }
  Py_DECREF(done);
}

CallScope::~CallScope() {
  CallKeepingException(set_grad_enabled, grad_enabled_.ptr());
  CallKeepingException(restore_execution, execution_.ptr());
}

StreamScope::StreamScope(void* stream, int32_t ordinal, int64_t run_id) {
  const py::int_ pointer(reinterpret_cast<std::uintptr_t>(stream));
  const py::int_ device(ordinal);
  const py::int_ run(run_id);
  PyObject* arguments[] = {pointer.ptr(), device.ptr(), run.ptr()};
  found_ = Checked(PyObject_Vectorcall(enter_stream, arguments, 3, nullptr));
}

StreamScope::~StreamScope() { CallKeepingException(leave_stream, found_.ptr()); }

}  // namespace bridge
