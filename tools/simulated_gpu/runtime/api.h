// How entry points of the runtime are written: each calls the driver and keeps the last error.

#ifndef SIMULATED_GPU_RUNTIME_API_H_
#define SIMULATED_GPU_RUNTIME_API_H_

#include <cuda.h>
#include <cuda_runtime_api.h>

#define RUNTIME_API extern "C" cudaError_t

namespace sim {

// The numbers of the driver's errors are those of the runtime's.
cudaError_t Result(CUresult result);
cudaError_t TakeLastError();
cudaError_t LastError();

// Makes the context of the current device current, as the first call of a thread does.
void EnsureContext();

}  // namespace sim

#endif  // SIMULATED_GPU_RUNTIME_API_H_
