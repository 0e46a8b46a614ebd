#include "support/hooks.h"

#include <utility>

namespace py = pybind11;

namespace bridge {
namespace {

constexpr std::pair<const char*, PyObject * Hooks::*> kNames[] = {
    {"is_grad_enabled", &Hooks::is_grad_enabled},
    {"set_grad_enabled", &Hooks::set_grad_enabled},
    {"forbid_execution", &Hooks::forbid_execution},
    {"restore_execution", &Hooks::restore_execution},
    {"enter_settings", &Hooks::enter_settings},
    {"leave_settings", &Hooks::leave_settings},
    {"restore_settings", &Hooks::restore_settings},
    {"enter_stream", &Hooks::enter_stream},
    {"leave_stream", &Hooks::leave_stream},
    {"report", &Hooks::report},
    {"unusable", &Hooks::unusable},
    {"rescue", &Hooks::rescue},
};

}  // namespace

void UseHooks(const py::kwargs& functions) {
  for (const auto& [name, member] : kNames) {
    hooks.*member = py::object(functions[name]).release().ptr();
  }
}

}  // namespace bridge
