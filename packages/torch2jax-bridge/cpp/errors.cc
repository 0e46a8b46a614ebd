#include "errors.h"

#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace bridge {
namespace {

std::string Format(const char* function, const py::object& exception) {
  py::object lines = py::module_::import("traceback").attr(function)(exception);
  return py::str("").attr("join")(lines).cast<std::string>();
}

}  // namespace

std::string TakePythonError() {
  py::error_already_set error;
  const py::object exception = error.value();
  try {
    return Format("format_exception_only", exception) + "\n" +
           Format("format_exception", exception);
  } catch (py::error_already_set& failure) {
    failure.discard_as_unraisable("torch2jax_bridge: formatting an exception");
    return "an exception whose text could not be made";
  }
}

}  // namespace bridge
