// What PyTorch says of a tensor, asked in its C++ where that is known: Python's way is slower ten
// times, and lets go of the GIL.

#ifndef TORCH2JAX_BRIDGE_TENSORS_NATIVE_H_
#define TORCH2JAX_BRIDGE_TENSORS_NATIVE_H_

#include <pybind11/pybind11.h>

#include <cstdint>

#include "tensors/dlpack_abi.h"

namespace bridge {

// Takes what Python asks: the class of tensors, and the table that it publishes.
void UseTensorMethods(const pybind11::type& tensor_type, const dlpack::ExchangeTable* table);

// Takes the addresses of PyTorch's functions of an `at::Tensor`, zeros where they are not known:
// `at::native::is_conj`, `at::native::is_neg`, `_version`, `at::toDLPackNonOwning`.
void UseNativeTensors(std::uintptr_t is_conj, std::uintptr_t is_neg, std::uintptr_t version,
                      std::uintptr_t view);

// Takes the addresses of `at::fromDLPackVersioned` and of `THPVariable_Wrap(at::TensorBase&&)`,
// zeros where they are not known.
void UseNativeImport(std::uintptr_t from_dlpack, std::uintptr_t wrap);

// Whether the values in memory are to be conjugated, or negated.
bool IsConj(pybind11::handle tensor);
bool IsNeg(pybind11::handle tensor);

// How often operations wrote into a tensor's memory; 0 for one that was just borrowed.
long Version(pybind11::handle tensor);

// Describes a tensor; false with a Python exception set where that cannot be done.
bool Describe(pybind11::handle tensor, dlpack::Tensor* out);

// The tensor that takes a managed one over, without waiting for anything.
pybind11::object Import(dlpack::ManagedTensor* managed);

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_TENSORS_NATIVE_H_
