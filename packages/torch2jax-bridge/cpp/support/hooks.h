// The Python functions that calls use.

#ifndef TORCH2JAX_BRIDGE_SUPPORT_HOOKS_H_
#define TORCH2JAX_BRIDGE_SUPPORT_HOOKS_H_

#include <pybind11/pybind11.h>

namespace bridge {

struct Hooks {
  PyObject* is_grad_enabled;    // () -> bool: whether PyTorch records gradients on this thread
  PyObject* set_grad_enabled;   // (bool)
  PyObject* forbid_execution;   // (bool) -> what was so before: JAX runs no program on this thread
  PyObject* restore_execution;  // (what was so before)
  PyObject* enter_settings;     // (settings) -> found: they are PyTorch's of this thread
  PyObject* leave_settings;     // (found)
  PyObject* restore_settings;   // (settings): they were PyTorch's of this thread before the call
  PyObject* enter_stream;       // (pointer, device ordinal, run) -> found: XLA's is the current one
  PyObject* leave_stream;       // (found)
  PyObject* report;             // (exception, name, note) -> str: keeps it, and says what happened
  PyObject* unusable;           // (tensor) -> str: why it cannot be a result; None if it can
  PyObject* rescue;  // (CPU tensor): it and all that share its memory get memory of their own
};

// Owned for the life of the process.
inline Hooks hooks{};

// Takes all of them by name. Must be called once, before any program runs.
void UseHooks(const pybind11::kwargs& functions);

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_SUPPORT_HOOKS_H_
