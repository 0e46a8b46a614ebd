// XLA's element types as DLPack describes them.

#ifndef TORCH2JAX_BRIDGE_TENSORS_DTYPES_H_
#define TORCH2JAX_BRIDGE_TENSORS_DTYPES_H_

#include <optional>
#include <string>

#include "tensors/dlpack_abi.h"
#include "xla/ffi/api/ffi.h"

namespace bridge {

// DLPack's description of an XLA element type; nothing where PyTorch has no such dtype.
std::optional<dlpack::DataType> ToDlpack(xla::ffi::DataType dtype);

bool SameType(const dlpack::DataType& a, const dlpack::DataType& b);

// A readable name such as "float32".
std::string TypeName(const dlpack::DataType& dtype);

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_TENSORS_DTYPES_H_
