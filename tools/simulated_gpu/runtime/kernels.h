// PyTorch's kernels that are emulated, found by their names.

#ifndef SIMULATED_GPU_RUNTIME_KERNELS_H_
#define SIMULATED_GPU_RUNTIME_KERNELS_H_

#include <string>

#include "core/stream.h"

namespace sim {

// What a launch with these arguments does; null for a kernel that is not emulated. The arguments
// are read at once, as a launch copies them.
Operation Emulate(const std::string& kernel, void** arguments);

}  // namespace sim

#endif  // SIMULATED_GPU_RUNTIME_KERNELS_H_
