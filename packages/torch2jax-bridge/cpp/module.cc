#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "errors.h"
#include "gil.h"
#include "grad_mode.h"
#include "handlers.h"
#include "reclaim.h"
#include "registry.h"
#include "scope.h"
#include "tensors.h"

namespace py = pybind11;

PYBIND11_MODULE(_C, m) {
  m.doc() = "The compiled core of torch2jax_bridge: XLA custom calls that run Python callables.";
  py::class_<bridge::Handle>(m, "Handle", "Keeps a callable findable by custom calls.")
      .def(py::init([](py::object callable, std::string name, bool narrow, bool takes_outputs,
                       bool keeps_inputs, bool strict, std::vector<bool> written,
                       std::vector<std::string> names) {
             return new bridge::Handle(
                 std::move(callable), {std::move(name), narrow, takes_outputs, keeps_inputs, strict,
                                       std::move(written), std::move(names)});
           }),
           py::arg("callable"), py::arg("name"), py::kw_only(), py::arg("narrow") = false,
           py::arg("takes_outputs") = false, py::arg("keeps_inputs") = false,
           py::arg("strict") = false, py::arg("written") = std::vector<bool>(),
           py::arg("names") = std::vector<std::string>())
      .def_property_readonly("id", &bridge::Handle::id);
  m.def("use_tensor_type", &bridge::UseTensorType, py::arg("tensor_type"));
  m.def("use_grad_mode", &bridge::UseGradMode, py::arg("is_enabled"), py::arg("set_enabled"),
        py::arg("native_is_enabled"), py::arg("native_set_enabled"));
  m.def("use_execution_switch", &bridge::UseExecutionSwitch, py::arg("set_forbidden"),
        py::arg("restore"));
  m.def("use_stream_scope", &bridge::UseStreamScope, py::arg("enter"), py::arg("leave"));
  m.def("use_report", &bridge::UseReport, py::arg("report"));
  m.def("use_rescue", &bridge::UseRescue, py::arg("rescue"));
  m.def("targets", &bridge::Targets);
  m.def("empty_target", &bridge::EmptyTarget);
  m.def("state_type", &bridge::StateType);
  m.def("is_forked", &bridge::IsForked);
  m.def("shutdown", &bridge::Shutdown, py::arg("seconds"));
}
