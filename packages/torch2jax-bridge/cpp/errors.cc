#include "errors.h"

#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace bridge {
namespace {

std::string Traceback(const py::object& exception) {
  py::object lines = py::module_::import("traceback").attr("format_exception")(exception);
  return py::str("").attr("join")(lines).cast<std::string>();
}

std::string Summary(const py::object& exception) {
  return py::type::of(exception).attr("__name__").cast<std::string>() + ": " +
         py::str(exception).cast<std::string>();
}

}  // namespace

std::string TakePythonError() {
  py::error_already_set error;
  const py::object exception = error.value();
  try {
    return Summary(exception) + "\n\n" + Traceback(exception);
  } catch (py::error_already_set& failure) {  // a __str__ that raises, say
    failure.discard_as_unraisable("torch2jax_bridge: formatting an exception");
    return "an exception whose text could not be made";
  }
}

}  // namespace bridge
