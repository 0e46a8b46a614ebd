// Memory in two steps, addresses and what lies behind them, as XLA allocates.

#include <cstring>

#include "core/memory.h"
#include "core/settings.h"
#include "driver/api.h"

namespace {

constexpr size_t kGranularity = size_t{2} << 20;

struct Allocation {
  size_t size;
  int device;
};

Allocation* AllocationOf(CUmemGenericAllocationHandle handle) {
  return reinterpret_cast<Allocation*>(handle);
}

// Lives as long as the process: handles may be asked for again while memory is mapped.
CUmemGenericAllocationHandle NewHandle(size_t size, int device) {
  return reinterpret_cast<CUmemGenericAllocationHandle>(new Allocation{size, device});
}

void* Pointer(CUdeviceptr address) { return reinterpret_cast<void*>(address); }

}  // namespace

DRIVER_API cuMemGetAllocationGranularity(size_t* size, const CUmemAllocationProp*,
                                         CUmemAllocationGranularity_flags) {
  *size = kGranularity;
  return CUDA_SUCCESS;
}

DRIVER_API cuMemCreate(CUmemGenericAllocationHandle* handle, size_t size,
                       const CUmemAllocationProp* properties, unsigned long long) {
  if (properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;
  const int device = properties->location.id;
  if (size > sim::Available(device)) return CUDA_ERROR_OUT_OF_MEMORY;
  *handle = NewHandle(size, device);
  return CUDA_SUCCESS;
}

DRIVER_API cuMemRelease(CUmemGenericAllocationHandle) { return CUDA_SUCCESS; }

DRIVER_API cuMemAddressReserve(CUdeviceptr* address, size_t size, size_t, CUdeviceptr,
                               unsigned long long) {
  void* begin = sim::Reserve(size);
  if (begin == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  *address = reinterpret_cast<CUdeviceptr>(begin);
  return CUDA_SUCCESS;
}

DRIVER_API cuMemAddressFree(CUdeviceptr address, size_t size) {
  sim::Unreserve(Pointer(address), size);
  return CUDA_SUCCESS;
}

DRIVER_API cuMemMap(CUdeviceptr address, size_t size, size_t, CUmemGenericAllocationHandle handle,
                    unsigned long long) {
  sim::Map(Pointer(address), size, AllocationOf(handle)->device);
  return CUDA_SUCCESS;
}

DRIVER_API cuMemUnmap(CUdeviceptr address, size_t) { return sim::Unmap(Pointer(address)); }

DRIVER_API cuMemSetAccess(CUdeviceptr, size_t, const CUmemAccessDesc*, size_t) {
  return CUDA_SUCCESS;
}

DRIVER_API cuMemGetAccess(unsigned long long* flags, const CUmemLocation*, CUdeviceptr) {
  *flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  return CUDA_SUCCESS;
}

DRIVER_API cuMemRetainAllocationHandle(CUmemGenericAllocationHandle* handle, void* pointer) {
  const auto block = sim::Find(pointer);
  if (!block) return CUDA_ERROR_INVALID_VALUE;
  *handle = NewHandle(block->size, block->device);
  return CUDA_SUCCESS;
}

DRIVER_API cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp* properties,
                                                  CUmemGenericAllocationHandle handle) {
  std::memset(properties, 0, sizeof *properties);
  properties->type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties->location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  properties->location.id = AllocationOf(handle)->device;
  return CUDA_SUCCESS;
}
