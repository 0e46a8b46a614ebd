#include "grad_mode.h"

#include "errors.h"

namespace py = pybind11;

namespace bridge {
namespace {

using IsEnabled = bool (*)();
using SetEnabled = void (*)(bool);

IsEnabled native_is_enabled = nullptr;
SetEnabled native_set_enabled = nullptr;
// Owned for the life of the process.
PyObject* python_is_enabled = nullptr;
PyObject* python_set_enabled = nullptr;

bool IsGradEnabled() {
  if (native_is_enabled != nullptr) return native_is_enabled();
  PyObject* enabled = PyObject_CallNoArgs(python_is_enabled);
  if (enabled == nullptr) throw py::error_already_set();
  Py_DECREF(enabled);  // True and False live on
  return enabled == Py_True;
}

void SetGradEnabled(bool enabled) {
  if (native_set_enabled != nullptr) return native_set_enabled(enabled);
  PyObject* done = PyObject_CallOneArg(python_set_enabled, enabled ? Py_True : Py_False);
  if (done == nullptr) throw py::error_already_set();
  Py_DECREF(done);
}

}  // namespace

void UseGradMode(py::object is_enabled, py::object set_enabled, std::uintptr_t is_enabled_address,
                 std::uintptr_t set_enabled_address) {
  python_is_enabled = is_enabled.release().ptr();
  python_set_enabled = set_enabled.release().ptr();
  native_is_enabled = reinterpret_cast<IsEnabled>(is_enabled_address);
  native_set_enabled = reinterpret_cast<SetEnabled>(set_enabled_address);
}

NoGradScope::NoGradScope() : was_enabled_(IsGradEnabled()) {
  if (was_enabled_) SetGradEnabled(false);
}

// The function itself may have changed the mode, so it is set whatever it was.
NoGradScope::~NoGradScope() {
  if (native_set_enabled != nullptr) {
    native_set_enabled(was_enabled_);
  } else {
    CallKeepingException(python_set_enabled, was_enabled_ ? Py_True : Py_False);
  }
}

}  // namespace bridge
