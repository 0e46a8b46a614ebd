#include <cstdint>
#include <cstdio>
#include <cstring>

#include "core/context.h"
#include "core/settings.h"
#include "runtime/api.h"

namespace sim {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

}  // namespace

cudaError_t Result(CUresult result) {
  const auto error = static_cast<cudaError_t>(result);
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t LastError() { return last_error; }

cudaError_t TakeLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

void EnsureContext() {
  if (CurrentContext() == nullptr) SetCurrentContext(ContextOf(CurrentDevice()));
}

}  // namespace sim

using sim::Result;

RUNTIME_API cudaGetDeviceCount(int* count) { return Result(cuDeviceGetCount(count)); }

RUNTIME_API cudaSetDevice(int device) {
  if (device < 0 || device >= sim::DeviceCount()) return Result(CUDA_ERROR_INVALID_DEVICE);
  sim::ChooseDevice(device);
  return cudaSuccess;
}

RUNTIME_API cudaGetDevice(int* device) {
  *device = sim::CurrentDevice();
  return cudaSuccess;
}

RUNTIME_API cudaDeviceSynchronize() {
  sim::EnsureContext();
  return Result(cuCtxSynchronize());
}

RUNTIME_API cudaDriverGetVersion(int* version) { return Result(cuDriverGetVersion(version)); }
RUNTIME_API cudaRuntimeGetVersion(int* version) { return Result(cuDriverGetVersion(version)); }

RUNTIME_API cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return Result(cuDeviceGetAttribute(value, static_cast<CUdevice_attribute>(attribute), device));
}

RUNTIME_API cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  const auto attribute = [device](CUdevice_attribute which) {
    int value = 0;
    cuDeviceGetAttribute(&value, which, device);
    return value;
  };
  std::memset(properties, 0, sizeof *properties);
  cuDeviceGetName(properties->name, sizeof properties->name, device);
  properties->totalGlobalMem = sim::kTotalMemory;
  properties->major = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  properties->minor = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  properties->warpSize = attribute(CU_DEVICE_ATTRIBUTE_WARP_SIZE);
  properties->multiProcessorCount = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  properties->maxThreadsPerBlock = attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  properties->maxThreadsPerMultiProcessor =
      attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
  properties->maxBlocksPerMultiProcessor =
      attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR);
  properties->maxThreadsDim[0] = attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X);
  properties->maxThreadsDim[1] = attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y);
  properties->maxThreadsDim[2] = attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z);
  properties->maxGridSize[0] = attribute(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X);
  properties->maxGridSize[1] = attribute(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y);
  properties->maxGridSize[2] = attribute(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z);
  properties->regsPerBlock = attribute(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK);
  properties->regsPerMultiprocessor =
      attribute(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR);
  properties->sharedMemPerBlock =
      static_cast<size_t>(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK));
  properties->sharedMemPerBlockOptin =
      static_cast<size_t>(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN));
  properties->sharedMemPerMultiprocessor =
      static_cast<size_t>(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR));
  properties->l2CacheSize = attribute(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  properties->textureAlignment =
      static_cast<size_t>(attribute(CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT));
  properties->pciBusID = attribute(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);
  properties->unifiedAddressing = 1;
  properties->concurrentKernels = 1;
  return cudaSuccess;
}

RUNTIME_API cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 1;
  return cudaSuccess;
}

RUNTIME_API cudaDeviceEnablePeerAccess(int, unsigned) { return cudaSuccess; }

RUNTIME_API cudaDeviceGetPCIBusId(char* text, int size, int device) {
  return Result(cuDeviceGetPCIBusId(text, size, device));
}

RUNTIME_API cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return Result(cuCtxGetStreamPriorityRange(least, greatest));
}

RUNTIME_API cudaGetLastError() { return sim::TakeLastError(); }
RUNTIME_API cudaPeekAtLastError() { return sim::LastError(); }

extern "C" const char* cudaGetErrorName(cudaError_t error) {
  const char* name = nullptr;
  cuGetErrorName(static_cast<CUresult>(error), &name);
  return name;
}

extern "C" const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

RUNTIME_API cudaProfilerStart() { return cudaSuccess; }
RUNTIME_API cudaProfilerStop() { return cudaSuccess; }

extern "C" CUresult cuGetProcAddress_v2(const char*, void**, int, cuuint64_t,
                                        CUdriverProcAddressQueryResult*);

RUNTIME_API cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned version,
                                             unsigned long long flags,
                                             cudaDriverEntryPointQueryResult* result) {
  cuGetProcAddress_v2(name, function, static_cast<int>(version), flags, nullptr);
  if (result != nullptr) {
    *result =
        *function == nullptr ? cudaDriverEntryPointSymbolNotFound : cudaDriverEntryPointSuccess;
  }
  return cudaSuccess;
}
