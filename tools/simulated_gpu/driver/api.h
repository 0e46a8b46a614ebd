// How entry points of the driver are written.

#ifndef SIMULATED_GPU_DRIVER_API_H_
#define SIMULATED_GPU_DRIVER_API_H_

#include <cuda.h>

// The header maps some names to newer forms by macros, so each entry point gets the right symbol.
#define DRIVER_API extern "C" CUresult CUDAAPI

#endif  // SIMULATED_GPU_DRIVER_API_H_
