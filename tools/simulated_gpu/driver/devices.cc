// Devices and their contexts: an H200 of which only the name is there.

#include <cstdio>
#include <cstring>

#include "core/context.h"
#include "core/memory.h"
#include "core/report.h"
#include "core/settings.h"
#include "core/stream.h"
#include "driver/api.h"

namespace {

constexpr int kFirstBus = 0x10;
constexpr int kVersion = 13000;

int Attribute(CUdevice_attribute attribute, int device) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: return kFirstBus + device;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return 9;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return 0;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return 132;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return 2048;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_PITCH: return 0x7fffffff;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 0xffff;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return 48 << 10;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return 227 << 10;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: return 228 << 10;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: return 1 << 10;
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: return 1 << 16;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: return 60 << 20;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: return 1980000;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: return 3201000;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: return 6144;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT: return 512;
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: return 3;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED: return 1;
    default: return 0;
  }
}

}  // namespace

DRIVER_API cuInit(unsigned) { return CUDA_SUCCESS; }

DRIVER_API cuDriverGetVersion(int* version) {
  *version = kVersion;
  return CUDA_SUCCESS;
}

DRIVER_API cuDeviceGetCount(int* count) {
  *count = sim::DeviceCount();
  return CUDA_SUCCESS;
}

DRIVER_API cuDeviceGet(CUdevice* device, int ordinal) {
  if (ordinal < 0 || ordinal >= sim::DeviceCount()) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}

DRIVER_API cuDeviceGetName(char* name, int size, CUdevice) {
  std::snprintf(name, static_cast<size_t>(size), "simulated H200");
  return CUDA_SUCCESS;
}

DRIVER_API cuDeviceGetUuid(CUuuid* uuid, CUdevice device) {
  std::memset(uuid, device + 1, sizeof *uuid);
  return CUDA_SUCCESS;
}

DRIVER_API cuDeviceGetPCIBusId(char* text, int size, CUdevice device) {
  std::snprintf(text, static_cast<size_t>(size), "0000:%02x:00.0", kFirstBus + device);
  return CUDA_SUCCESS;
}

DRIVER_API cuDeviceGetByPCIBusId(CUdevice* device, const char* text) {
  unsigned domain = 0;
  unsigned bus = 0;
  if (std::sscanf(text, "%x:%x", &domain, &bus) != 2) return CUDA_ERROR_INVALID_VALUE;
  return cuDeviceGet(device, static_cast<int>(bus) - kFirstBus);
}

DRIVER_API cuDeviceTotalMem(size_t* size, CUdevice) {
  *size = sim::kTotalMemory;
  return CUDA_SUCCESS;
}

DRIVER_API cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  *value = Attribute(attribute, device);
  return CUDA_SUCCESS;
}

DRIVER_API cuDeviceCanAccessPeer(int* can, CUdevice, CUdevice) {
  *can = 1;
  return CUDA_SUCCESS;
}

DRIVER_API cuDeviceGetP2PAttribute(int* value, CUdevice_P2PAttribute, CUdevice, CUdevice) {
  *value = 1;
  return CUDA_SUCCESS;
}

DRIVER_API cuCtxEnablePeerAccess(CUcontext, unsigned) { return CUDA_SUCCESS; }

DRIVER_API cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  *context = sim::ContextOf(device);
  return CUDA_SUCCESS;
}

DRIVER_API cuDevicePrimaryCtxRelease(CUdevice) { return CUDA_SUCCESS; }
DRIVER_API cuDevicePrimaryCtxReset(CUdevice) { return CUDA_SUCCESS; }
DRIVER_API cuDevicePrimaryCtxSetFlags(CUdevice, unsigned) { return CUDA_SUCCESS; }

DRIVER_API cuDevicePrimaryCtxGetState(CUdevice, unsigned* flags, int* is_active) {
  *flags = 0;
  *is_active = 1;
  return CUDA_SUCCESS;
}

DRIVER_API cuCtxGetCurrent(CUcontext* context) {
  *context = sim::CurrentContext();
  return CUDA_SUCCESS;
}

DRIVER_API cuCtxSetCurrent(CUcontext context) {
  sim::SetCurrentContext(context);
  return CUDA_SUCCESS;
}

DRIVER_API cuCtxPushCurrent(CUcontext context) {
  sim::PushContext(context);
  return CUDA_SUCCESS;
}

DRIVER_API cuCtxPopCurrent(CUcontext* context) {
  const CUcontext popped = sim::PopContext();
  if (context != nullptr) *context = popped;
  return CUDA_SUCCESS;
}

DRIVER_API cuCtxGetDevice(CUdevice* device) {
  if (sim::CurrentContext() == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  *device = sim::CurrentDevice();
  return CUDA_SUCCESS;
}

DRIVER_API cuCtxGetFlags(unsigned* flags) {
  *flags = 0;
  return CUDA_SUCCESS;
}

DRIVER_API cuCtxGetApiVersion(CUcontext, unsigned* version) {
  *version = kVersion;
  return CUDA_SUCCESS;
}

DRIVER_API cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return CUDA_SUCCESS;
}

DRIVER_API cuCtxSynchronize() {
  sim::CountCall("cuCtxSynchronize");
  sim::DrainDevice(sim::CurrentDevice());
  return CUDA_SUCCESS;
}
