#include <pybind11/pybind11.h>

#include "gil.h"
#include "handlers.h"
#include "registry.h"
#include "tensors.h"

namespace py = pybind11;

PYBIND11_MODULE(_C, m) {
  m.doc() = "The compiled core of torch2jax_bridge: XLA custom calls that run Python callables.";
  py::class_<bridge::Handle>(m, "Handle", "Keeps a callable findable by custom calls.")
      .def(py::init<py::function>(), py::arg("callable"))
      .def_property_readonly("id", &bridge::Handle::id);
  m.def("use_tensor_type", &bridge::UseTensorType, py::arg("tensor_type"));
  m.def("use_stream_scope", &bridge::UseStreamScope, py::arg("scope"));
  m.def("targets", &bridge::Targets);
  m.def("state_type", &bridge::StateType);
  m.def("shutdown", &bridge::Shutdown, py::arg("seconds"));
}
