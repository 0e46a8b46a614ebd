// The memory of the devices, which lies in the host's.

#ifndef SIMULATED_GPU_CORE_MEMORY_H_
#define SIMULATED_GPU_CORE_MEMORY_H_

#include <cuda.h>

#include <cstddef>
#include <optional>

namespace sim {

struct Block {
  void* begin;
  size_t size;
  int device;
  bool is_host;  // pinned memory of the host
};

// Memory that is new has NaNs in it; null where the device has no more.
void* Allocate(int device, size_t size);

// Waits for the device, as CUDA does, and takes the memory away: a use after that ends the process.
CUresult Free(void* pointer);

// Addresses without memory, and memory of a device behind them. Unmap waits for the device, as
// Free.
void* Reserve(size_t size);
void Unreserve(void* begin, size_t size);
void Map(void* begin, size_t size, int device);
CUresult Unmap(void* begin);

void AddHostMemory(void* pointer, size_t size);
void RemoveHostMemory(void* pointer);

// The block that a pointer points into; nothing for ordinary memory of the host.
std::optional<Block> Find(const void* pointer);

// The bytes of a device that are not allocated.
size_t Available(int device);

// Copies in stream order; the host waits if `is_async` is false or CUDA has to.
CUresult Copy(void* to, const void* from, size_t size, CUstream stream, bool is_async);

// Fills `count` items of `width` bytes.
CUresult Fill(void* to, unsigned value, size_t width, size_t count, CUstream stream, bool is_async);

}  // namespace sim

#endif  // SIMULATED_GPU_CORE_MEMORY_H_
