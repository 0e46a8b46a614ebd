#include "scope.h"

#include "errors.h"

namespace py = pybind11;

namespace bridge {
namespace {

// Owned for the life of the process.
PyObject* set_forbidden = nullptr;
PyObject* restore_execution = nullptr;
PyObject* enter_stream = nullptr;
PyObject* leave_stream = nullptr;

py::object Checked(PyObject* result) {
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

}  // namespace

void UseExecutionSwitch(py::object set, py::object restore) {
  set_forbidden = set.release().ptr();
  restore_execution = restore.release().ptr();
}

void UseStreamScope(py::object enter, py::object leave) {
  enter_stream = enter.release().ptr();
  leave_stream = leave.release().ptr();
}

NoExecutionScope::NoExecutionScope()
    : execution_(Checked(PyObject_CallOneArg(set_forbidden, Py_True))) {}

NoExecutionScope::~NoExecutionScope() { CallKeepingException(restore_execution, execution_.ptr()); }

StreamScope::StreamScope(void* stream, int32_t ordinal, int64_t run_id) {
  const py::int_ pointer(reinterpret_cast<std::uintptr_t>(stream));
  const py::int_ device(ordinal);
  const py::int_ run(run_id);
  PyObject* arguments[] = {pointer.ptr(), device.ptr(), run.ptr()};
  found_ = Checked(PyObject_Vectorcall(enter_stream, arguments, 3, nullptr));
}

StreamScope::~StreamScope() { CallKeepingException(leave_stream, found_.ptr()); }

}  // namespace bridge
