// The custom call: XLA hands over buffers, a Python callable gets tensors and returns tensors.

#ifndef TORCH2JAX_BRIDGE_CALLS_HANDLERS_H_
#define TORCH2JAX_BRIDGE_CALLS_HANDLERS_H_

#include <pybind11/pybind11.h>

namespace bridge {

// The stages of the custom call for jax.ffi.register_ffi_target, by platform name; those for CUDA
// in two kinds, the second one for functions that XLA may record into command buffers.
pybind11::dict Targets();

// A custom call that does nothing, whatever its arguments and results: what a call costs at least.
pybind11::capsule EmptyTarget();

// The type of the per-program state, for jax.ffi.register_ffi_type.
pybind11::dict StateType();

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_CALLS_HANDLERS_H_
