#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "calls/checks.h"
#include "calls/handlers.h"
#include "calls/registry.h"
#include "calls/thread_state.h"
#include "support/compat.h"
#include "support/gil.h"
#include "support/hooks.h"
#include "support/interrupts.h"
#include "tensors/arrays.h"
#include "tensors/native.h"
#include "tensors/tensors.h"

namespace py = pybind11;

PYBIND11_MODULE(_C, m) {
  using bridge::CallOptions;
  using bridge::Checks;
  using bridge::Handle;
  m.doc() = "The compiled core of torch2jax_bridge: XLA custom calls that run Python callables.";
  py::class_<CallOptions>(m, "CallOptions", "How a callable wants to be called.")
      .def(py::init<>())
      .def_readwrite("name", &CallOptions::name)
      .def_readwrite("note", &CallOptions::note)
      .def_readwrite("narrow", &CallOptions::narrow)
      .def_readwrite("takes_outputs", &CallOptions::takes_outputs)
      .def_readwrite("keeps_inputs", &CallOptions::keeps_inputs)
      .def_readwrite("strict", &CallOptions::strict)
      .def_readwrite("flushes_denormals", &CallOptions::flushes_denormals)
      .def_readwrite("written", &CallOptions::written)
      .def_readwrite("names", &CallOptions::names);
  py::class_<Checks>(m, "Checks", "What says whether a thread has certain settings.")
      .def(py::init<const py::iterable&, const py::iterable&, const py::iterable&>(),
           py::arg("getters"), py::arg("native"), py::arg("items"))
      .def("hold", &Checks::Hold);
  py::class_<Handle>(m, "Handle", "Keeps a callable findable by custom calls.")
      .def(py::init<py::object, py::object, CallOptions>(), py::arg("function"),
           py::arg("settings"), py::arg("options"))
      .def_property_readonly("id", &Handle::id);
  m.def("use_tensor_type", &bridge::UseTensorType, py::arg("tensor_type"));
  m.def("use_native_tensors", &bridge::UseNativeTensors, py::arg("is_conj"), py::arg("is_neg"),
        py::arg("version"), py::arg("view"));
  m.def("use_native_import", &bridge::UseNativeImport, py::arg("from_dlpack"), py::arg("wrap"));
  m.def("use_native_grad_mode", &bridge::UseNativeGradMode, py::arg("is_enabled"),
        py::arg("set_enabled"));
  m.def("use_hooks", &bridge::UseHooks);
  m.def("borrow_array", &bridge::BorrowArray, py::arg("exported"), py::arg("stream"));
  m.def(
      "use_native_modes",
      [](std::uintptr_t library, std::uintptr_t hooks, std::uintptr_t functions) {
        bridge::UseNativeModes({library, hooks, functions});
      },
      py::arg("library"), py::arg("hooks"), py::arg("functions"));
  m.def("keys_of_thread", &bridge::KeysOfThread);
  m.def("is_in_modes", [] { return reinterpret_cast<std::uintptr_t>(&bridge::IsInModes); });
  m.def("flushes_denormals", &bridge::FlushesDenormals);
  m.def("byte_at", [] { return reinterpret_cast<std::uintptr_t>(&bridge::ByteAt); });
  m.def("current_cpu_run", [] { return bridge::current_cpu_run; });
  m.def("targets", &bridge::Targets);
  m.def("empty_target", &bridge::EmptyTarget);
  m.def("state_types", &bridge::StateTypes);
  m.def("is_forked", &bridge::IsForked);
  m.def("watch_interrupts", &bridge::WatchInterrupts, py::arg("main_thread"));
  m.def("shutdown", &bridge::Shutdown, py::arg("seconds"));
}
