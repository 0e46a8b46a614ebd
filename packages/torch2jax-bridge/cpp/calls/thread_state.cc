#include "calls/thread_state.h"

#include "support/compat.h"
#include "support/errors.h"
#include "support/hooks.h"

namespace py = pybind11;

namespace bridge {
namespace {

NativeGradMode native;

bool IsGradEnabled() {
  if (native.is_enabled != nullptr) return native.is_enabled();
  return Checked(PyObject_CallNoArgs(hooks.is_grad_enabled)).ptr() == Py_True;
}

}  // namespace

void UseNativeGradMode(std::uintptr_t is_enabled, std::uintptr_t set_enabled) {
  native = NativeGradModeAt(is_enabled, set_enabled);
}

SettingsScope::SettingsScope(const Callable& callable) {
  if (callable.checks() != nullptr && callable.checks()->Hold()) return;
  found_ = Checked(PyObject_CallOneArg(hooks.enter_settings, callable.settings()));
}

SettingsScope::~SettingsScope() {
  if (found_) CallKeepingException(hooks.leave_settings, found_.ptr());
}

NoGradScope::NoGradScope() : was_enabled_(IsGradEnabled()) {
  if (!was_enabled_) return;
  if (native.set_enabled != nullptr) {
    native.set_enabled(false);
  } else {
    Checked(PyObject_CallOneArg(hooks.set_grad_enabled, Py_False));
  }
}

// The function itself may have changed the mode, so it is set whatever it was.
NoGradScope::~NoGradScope() {
  if (native.set_enabled != nullptr) {
    native.set_enabled(was_enabled_);
  } else {
    CallKeepingException(hooks.set_grad_enabled, was_enabled_ ? Py_True : Py_False);
  }
}

NoExecutionScope::NoExecutionScope()
    : found_(Checked(PyObject_CallOneArg(hooks.forbid_execution, Py_True))) {}

NoExecutionScope::~NoExecutionScope() {
  CallKeepingException(hooks.restore_execution, found_.ptr());
}

StreamScope::StreamScope(void* stream, int32_t ordinal, int64_t run_id) {
  const py::int_ pointer(reinterpret_cast<std::uintptr_t>(stream));
  const py::int_ device(ordinal);
  const py::int_ run(run_id);
  PyObject* arguments[] = {pointer.ptr(), device.ptr(), run.ptr()};
  found_ = Checked(PyObject_Vectorcall(hooks.enter_stream, arguments, 3, nullptr));
}

StreamScope::~StreamScope() { CallKeepingException(hooks.leave_stream, found_.ptr()); }

}  // namespace bridge
