// Python exceptions as errors of XLA's.

#ifndef TORCH2JAX_BRIDGE_ERRORS_H_
#define TORCH2JAX_BRIDGE_ERRORS_H_

#include <pybind11/pybind11.h>

#include <string>

namespace bridge {

// Takes `report(exception, name) -> str`, which keeps the exception and says what happened.
// Must be called once, before any program runs.
void UseReport(pybind11::object report);

// Reports the current Python exception, raised by the function of that name, and returns the text.
// Never raises. Called with the GIL held and an exception set.
std::string ReportPythonError(const std::string& name);

// Calls a function where a scope ends, perhaps because of an exception, which stays current.
void CallKeepingException(PyObject* function, PyObject* argument);

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_ERRORS_H_
