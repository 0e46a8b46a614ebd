// PyTorch tensors over XLA's buffers, and the other way round, without linking to PyTorch.

#ifndef TORCH2JAX_BRIDGE_TENSORS_TENSORS_H_
#define TORCH2JAX_BRIDGE_TENSORS_TENSORS_H_

#include <pybind11/pybind11.h>

#include "tensors/dlpack_abi.h"
#include "tensors/loan.h"
#include "xla/ffi/api/ffi.h"

namespace bridge {

// Takes the exchange table that torch.Tensor publishes. Raises ImportError when there is none that
// this build understands. Must be called once, before any other function here.
void UseTensorType(pybind11::type tensor_type);

// A torch.Tensor over the buffer's own memory, contiguous; its storage is a share of the loan.
// Raises TypeError for a dtype that PyTorch does not have. The GIL is held.
pybind11::object Borrow(const xla::ffi::AnyBuffer& buffer, dlpack::Device device, Loan* loan);

// PyTorch's current stream of a device on this thread; false where PyTorch does not say. Needs no
// GIL where it does.
bool CurrentStream(dlpack::Device device, void** stream);

// How results are written.
struct WriteOptions {
  // Whether 64-bit results are written into 32-bit buffers, where JAX has no 64 bits.
  bool narrow;
  // Whether the function was lent the output buffers, so that results may lie in them.
  bool lent_outputs;
};

// Writes the results of a function, a tensor or a tuple of tensors, into XLA's output buffers; what
// lies in its buffer already is left there. Raises TypeError or ValueError when number, type,
// dtype, shape or device differ.
void WriteAll(const pybind11::object& results, const xla::ffi::RemainingRets& rets,
              dlpack::Device device, const WriteOptions& options);

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_TENSORS_TENSORS_H_
