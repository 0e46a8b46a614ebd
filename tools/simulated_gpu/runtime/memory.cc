#include "core/memory.h"

#include <cstring>

#include "runtime/api.h"

using sim::Result;

namespace {

CUdeviceptr Address(const void* pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

}  // namespace

RUNTIME_API cudaMemGetInfo(size_t* available, size_t* total) {
  sim::EnsureContext();
  return Result(cuMemGetInfo(available, total));
}

RUNTIME_API cudaMalloc(void** pointer, size_t size) {
  sim::EnsureContext();
  return Result(cuMemAlloc(reinterpret_cast<CUdeviceptr*>(pointer), size));
}

RUNTIME_API cudaFree(void* pointer) {
  sim::EnsureContext();  // cudaFree(0) is how programs ask for a context
  return Result(cuMemFree(Address(pointer)));
}

RUNTIME_API cudaHostAlloc(void** pointer, size_t size, unsigned flags) {
  return Result(cuMemHostAlloc(pointer, size, flags));
}

RUNTIME_API cudaFreeHost(void* pointer) { return Result(cuMemFreeHost(pointer)); }

RUNTIME_API cudaHostRegister(void* pointer, size_t size, unsigned flags) {
  return Result(cuMemHostRegister(pointer, size, flags));
}

RUNTIME_API cudaHostUnregister(void* pointer) { return Result(cuMemHostUnregister(pointer)); }

RUNTIME_API cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  std::memset(attributes, 0, sizeof *attributes);
  const auto block = sim::Find(pointer);
  auto* address = const_cast<void*>(pointer);
  attributes->type = !block           ? cudaMemoryTypeUnregistered
                     : block->is_host ? cudaMemoryTypeHost
                                      : cudaMemoryTypeDevice;
  attributes->device = block ? block->device : -1;
  attributes->devicePointer = block ? address : nullptr;
  attributes->hostPointer = block && !block->is_host ? nullptr : address;
  return cudaSuccess;
}

RUNTIME_API cudaMemcpy(void* to, const void* from, size_t size, cudaMemcpyKind) {
  sim::EnsureContext();
  return Result(sim::Copy(to, from, size, nullptr, false));
}

RUNTIME_API cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind,
                            cudaStream_t stream) {
  sim::EnsureContext();
  return Result(sim::Copy(to, from, size, stream, true));
}

RUNTIME_API cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t size,
                                cudaStream_t stream) {
  sim::EnsureContext();
  return Result(sim::Copy(to, from, size, stream, true));
}

RUNTIME_API cudaMemset(void* to, int value, size_t size) {
  sim::EnsureContext();
  return Result(sim::Fill(to, static_cast<unsigned>(value), 1, size, nullptr, false));
}

RUNTIME_API cudaMemsetAsync(void* to, int value, size_t size, cudaStream_t stream) {
  sim::EnsureContext();
  return Result(sim::Fill(to, static_cast<unsigned>(value), 1, size, stream, true));
}

RUNTIME_API cudaMemcpyToSymbol(const void*, const void*, size_t, size_t, cudaMemcpyKind) {
  return cudaSuccess;  // symbols belong to kernels that are not emulated
}
