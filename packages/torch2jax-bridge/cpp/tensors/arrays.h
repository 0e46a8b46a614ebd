// Tensors over the memory of JAX's arrays on a GPU.

#ifndef TORCH2JAX_BRIDGE_TENSORS_ARRAYS_H_
#define TORCH2JAX_BRIDGE_TENSORS_ARRAYS_H_

#include <pybind11/pybind11.h>

#include <cstdint>

namespace bridge {

// A tensor over what an array exports by DLPack. The array's memory is released when the last
// tensor over it is gone and PyTorch's streams have passed that place: `stream`, which was the
// current one, and the one that is current then.
pybind11::object BorrowArray(pybind11::capsule exported, std::uintptr_t stream);

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_TENSORS_ARRAYS_H_
