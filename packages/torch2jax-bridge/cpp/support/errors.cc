#include "support/errors.h"

#include "support/hooks.h"

namespace py = pybind11;

namespace bridge {

void SetPythonError() {
  try {
    throw;
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (py::builtin_exception& error) {
    error.set_error();
  } catch (std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

std::string ReportPythonError(const std::string& name, const std::string& note) {
  py::error_already_set error;
  if (error.trace()) PyException_SetTraceback(error.value().ptr(), error.trace().ptr());
  try {
    const py::object text = py::handle(hooks.report)(error.value(), name, note);
    // Else the main thread would see an error of JAX's only.
    if (error.matches(PyExc_KeyboardInterrupt)) PyErr_SetInterrupt();
    return text.cast<std::string>();
  } catch (py::error_already_set& failure) {
    failure.discard_as_unraisable("torch2jax_bridge: reporting an exception");
    return "a PyTorch function called from JAX failed with an exception without text";
  }
}

void CallKeepingException(PyObject* function, PyObject* argument) {
  py::error_scope keep;
  PyObject* result = PyObject_CallOneArg(function, argument);
  if (result == nullptr) PyErr_WriteUnraisable(function);
  Py_XDECREF(result);
}

}  // namespace bridge
