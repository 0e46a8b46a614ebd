#include "core/memory.h"

#include <cstdlib>
#include <cstring>

#include "core/context.h"
#include "core/report.h"
#include "core/settings.h"
#include "driver/api.h"

namespace {

void* Pointer(CUdeviceptr address) { return reinterpret_cast<void*>(address); }

}  // namespace

DRIVER_API cuMemGetInfo(size_t* available, size_t* total) {
  *available = sim::Available(sim::CurrentDevice());
  *total = sim::kTotalMemory;
  return CUDA_SUCCESS;
}

DRIVER_API cuMemAlloc(CUdeviceptr* address, size_t size) {
  sim::CountCall("cuMemAlloc");
  void* begin = sim::Allocate(sim::CurrentDevice(), size);
  if (begin == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  *address = reinterpret_cast<CUdeviceptr>(begin);
  return CUDA_SUCCESS;
}

DRIVER_API cuMemFree(CUdeviceptr address) { return sim::Free(Pointer(address)); }

DRIVER_API cuMemHostAlloc(void** pointer, size_t size, unsigned) {
  constexpr size_t kPage = 4096;
  *pointer = std::aligned_alloc(kPage, (size + kPage - 1) / kPage * kPage);
  sim::AddHostMemory(*pointer, size);
  return CUDA_SUCCESS;
}

DRIVER_API cuMemAllocHost(void** pointer, size_t size) { return cuMemHostAlloc(pointer, size, 0); }

DRIVER_API cuMemFreeHost(void* pointer) {
  sim::RemoveHostMemory(pointer);
  std::free(pointer);
  return CUDA_SUCCESS;
}

DRIVER_API cuMemHostRegister(void* pointer, size_t size, unsigned) {
  sim::AddHostMemory(pointer, size);
  return CUDA_SUCCESS;
}

DRIVER_API cuMemHostUnregister(void* pointer) {
  sim::RemoveHostMemory(pointer);
  return CUDA_SUCCESS;
}

DRIVER_API cuMemHostGetDevicePointer(CUdeviceptr* address, void* pointer, unsigned) {
  *address = reinterpret_cast<CUdeviceptr>(pointer);
  return CUDA_SUCCESS;
}

DRIVER_API cuMemGetAddressRange(CUdeviceptr* begin, size_t* size, CUdeviceptr address) {
  const auto block = sim::Find(Pointer(address));
  if (!block) return CUDA_ERROR_NOT_FOUND;
  if (begin != nullptr) *begin = reinterpret_cast<CUdeviceptr>(block->begin);
  if (size != nullptr) *size = block->size;
  return CUDA_SUCCESS;
}

DRIVER_API cuPointerGetAttribute(void* value, CUpointer_attribute attribute, CUdeviceptr address) {
  const auto block = sim::Find(Pointer(address));
  if (!block) return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      *static_cast<unsigned*>(value) = block->is_host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
      break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *static_cast<int*>(value) = block->device; break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: *static_cast<CUdeviceptr*>(value) = address; break;
    case CU_POINTER_ATTRIBUTE_CONTEXT:
      *static_cast<CUcontext*>(value) = sim::ContextOf(block->device);
      break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: *static_cast<void**>(value) = block->begin; break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE: *static_cast<size_t*>(value) = block->size; break;
    default: std::memset(value, 0, sizeof(int)); break;
  }
  return CUDA_SUCCESS;
}

DRIVER_API cuPointerGetAttributes(unsigned count, CUpointer_attribute* attributes, void** values,
                                  CUdeviceptr address) {
  for (unsigned i = 0; i < count; ++i) cuPointerGetAttribute(values[i], attributes[i], address);
  return CUDA_SUCCESS;
}

DRIVER_API cuMemcpyHtoD(CUdeviceptr to, const void* from, size_t size) {
  return sim::Copy(Pointer(to), from, size, nullptr, false);
}

DRIVER_API cuMemcpyDtoH(void* to, CUdeviceptr from, size_t size) {
  return sim::Copy(to, Pointer(from), size, nullptr, false);
}

DRIVER_API cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t size) {
  return sim::Copy(Pointer(to), Pointer(from), size, nullptr, false);
}

DRIVER_API cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, size_t size, CUstream stream) {
  return sim::Copy(Pointer(to), from, size, stream, true);
}

DRIVER_API cuMemcpyDtoHAsync(void* to, CUdeviceptr from, size_t size, CUstream stream) {
  return sim::Copy(to, Pointer(from), size, stream, true);
}

DRIVER_API cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
  return sim::Copy(Pointer(to), Pointer(from), size, stream, true);
}

DRIVER_API cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
  return sim::Copy(Pointer(to), Pointer(from), size, stream, true);
}

DRIVER_API cuMemcpyPeerAsync(CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext, size_t size,
                             CUstream stream) {
  return sim::Copy(Pointer(to), Pointer(from), size, stream, true);
}

DRIVER_API cuMemsetD8(CUdeviceptr to, unsigned char value, size_t count) {
  return sim::Fill(Pointer(to), value, 1, count, nullptr, false);
}

DRIVER_API cuMemsetD32(CUdeviceptr to, unsigned value, size_t count) {
  return sim::Fill(Pointer(to), value, 4, count, nullptr, false);
}

DRIVER_API cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  return sim::Fill(Pointer(to), value, 1, count, stream, true);
}

DRIVER_API cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
  return sim::Fill(Pointer(to), value, 2, count, stream, true);
}

DRIVER_API cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
  return sim::Fill(Pointer(to), value, 4, count, stream, true);
}

// Pools of memory are not simulated; both libraries ask whether there are any.

DRIVER_API cuDeviceGetDefaultMemPool(CUmemoryPool*, CUdevice) { return CUDA_ERROR_NOT_SUPPORTED; }
