// The custom call: XLA hands over buffers, a Python callable gets tensors and returns tensors.

#ifndef TORCH2JAX_BRIDGE_CALLS_HANDLERS_H_
#define TORCH2JAX_BRIDGE_CALLS_HANDLERS_H_

#include <pybind11/pybind11.h>

namespace bridge {

// The stages of the custom call for jax.ffi.register_ffi_target, by platform name. None of them has
// the trait that lets XLA record it into a command buffer: the function is called in every run.
pybind11::dict Targets();

// A custom call that does nothing, whatever its arguments and results: what a call costs at least.
pybind11::capsule EmptyTarget();

// The types of the per-program state for jax.ffi.register_ffi_type, by platform name.
pybind11::dict StateTypes();

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_CALLS_HANDLERS_H_
