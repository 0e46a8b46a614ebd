// Python exceptions: thrown in C++, and reported as errors of XLA's.

#ifndef TORCH2JAX_BRIDGE_SUPPORT_ERRORS_H_
#define TORCH2JAX_BRIDGE_SUPPORT_ERRORS_H_

#include <pybind11/pybind11.h>

#include <string>

namespace bridge {

// The object that a call of Python's API returned; throws the exception that it has set instead.
inline pybind11::object Checked(PyObject* owned) {
  if (owned == nullptr) throw pybind11::error_already_set();
  return pybind11::reinterpret_steal<pybind11::object>(owned);
}

// Makes what was thrown the current Python exception. Called in a handler, with the GIL held.
void SetPythonError();

// Reports the current Python exception, raised by the function of that name, and returns the text,
// to which a note may belong. Never raises. Called with the GIL held and an exception set.
std::string ReportPythonError(const std::string& name, const std::string& note);

// Calls a function where a scope ends, perhaps because of an exception, which stays current.
void CallKeepingException(PyObject* function, PyObject* argument);

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_SUPPORT_ERRORS_H_
