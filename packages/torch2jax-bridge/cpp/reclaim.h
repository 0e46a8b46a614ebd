// The end of a loan: what a function keeps of XLA's memory must not stay XLA's.

#ifndef TORCH2JAX_BRIDGE_RECLAIM_H_
#define TORCH2JAX_BRIDGE_RECLAIM_H_

#include <pybind11/pybind11.h>

#include <vector>

#include "dlpack_abi.h"
#include "loan.h"
#include "registry.h"

namespace bridge {

// Takes `rescue(tensor)`, which moves a CPU tensor, and all that share its memory, to memory of
// their own. Must be called once, before any program runs.
void UseRescue(pybind11::object rescue);

// Drops the tensors of a call. Those that the function has kept get memory of their own; where that
// cannot be done, because it kept only a storage or because they are on a GPU, and where the
// options are strict, raises ValueError.
void Reclaim(std::vector<pybind11::object>& tensors, const Loan::Owner& loan, dlpack::Device device,
             const CallOptions& options);

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_RECLAIM_H_
