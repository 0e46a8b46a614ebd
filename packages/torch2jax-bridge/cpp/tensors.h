// PyTorch tensors over XLA's buffers, and the other way round, without linking to PyTorch.

#ifndef TORCH2JAX_BRIDGE_TENSORS_H_
#define TORCH2JAX_BRIDGE_TENSORS_H_

#include <pybind11/pybind11.h>

#include "dlpack_abi.h"
#include "xla/ffi/api/ffi.h"

namespace bridge {

// Takes the exchange table that torch.Tensor publishes. Raises ImportError when there is none that
// this build understands. Must be called once, before any other function here.
void UseTensorType(pybind11::type tensor_type);

// A torch.Tensor over the buffer's own memory, contiguous. Raises TypeError for a dtype that
// PyTorch does not have. The GIL is held.
pybind11::object Borrow(const xla::ffi::AnyBuffer& buffer, dlpack::Device device);

// Writes one result of a torch function into XLA's output buffer; `index` says in the messages
// which result it is. Raises TypeError or ValueError when type, dtype, shape or device differ.
void Write(pybind11::handle result, const xla::ffi::AnyBuffer& out, dlpack::Device device,
           size_t index);

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_TENSORS_H_
