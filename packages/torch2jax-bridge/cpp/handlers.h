// The custom call: XLA hands over buffers, a Python callable gets tensors and returns tensors.

#ifndef TORCH2JAX_BRIDGE_HANDLERS_H_
#define TORCH2JAX_BRIDGE_HANDLERS_H_

#include <pybind11/pybind11.h>

namespace bridge {

// Takes `scope(stream_pointer, device_ordinal)`, a Python context manager that makes XLA's stream
// PyTorch's current one. Must be called before a CUDA program runs.
void UseStreamScope(pybind11::function scope);

// Platform name -> the stages of the custom call, for jax.ffi.register_ffi_target.
pybind11::dict Targets();

// The type of the per-program state, for jax.ffi.register_ffi_type.
pybind11::dict StateType();

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_HANDLERS_H_
