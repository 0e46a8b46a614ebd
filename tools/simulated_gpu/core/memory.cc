#include "core/memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "core/report.h"
#include "core/settings.h"
#include "core/stream.h"

namespace sim {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kMostFilled = size_t{1} << 22;  // filling more would take long

struct Memory {
  std::mutex mutex;
  std::map<std::uintptr_t, Block> blocks;
  size_t used[kMostDevices] = {};
};

Memory& GetMemory() {
  static auto* memory = new Memory;
  return *memory;
}

std::uintptr_t Address(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

// Takes a block of a device out of the table, when the device has done all that it has to do.
std::optional<Block> Take(void* begin) {
  Memory& memory = GetMemory();
  const std::optional<Block> block = Find(begin);
  if (!block || block->begin != begin || block->is_host) {
    Misuse("%p is freed, and is no memory of a device", begin);
    return std::nullopt;
  }
  DrainDevice(block->device);
  std::lock_guard<std::mutex> lock(memory.mutex);
  memory.blocks.erase(Address(begin));
  memory.used[block->device] -= block->size;
  Log(2, "%p is freed", begin);
  return block;
}

}  // namespace

void* Allocate(int device, size_t size) {
  const size_t whole = size == 0 ? kPage : (size + kPage - 1) / kPage * kPage;
  Memory& memory = GetMemory();
  std::lock_guard<std::mutex> lock(memory.mutex);
  if (memory.used[device] + whole > kUsableMemory) return nullptr;
  void* begin = mmap(nullptr, whole, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  if (begin == MAP_FAILED) return nullptr;
  if (size <= kMostFilled) std::memset(begin, 0xFF, whole);
  memory.used[device] += whole;
  memory.blocks[Address(begin)] = {begin, whole, device, false};
  Log(2, "%zu bytes of device %d at %p", size, device, begin);
  return begin;
}

CUresult Free(void* pointer) {
  if (pointer == nullptr) return CUDA_SUCCESS;
  const std::optional<Block> block = Take(pointer);
  if (!block) return CUDA_ERROR_INVALID_VALUE;
  munmap(block->begin, block->size);
  return CUDA_SUCCESS;
}

void* Reserve(size_t size) {
  void* begin = mmap(nullptr, size, PROT_NONE, kFlags, -1, 0);
  return begin == MAP_FAILED ? nullptr : begin;
}

void Unreserve(void* begin, size_t size) { munmap(begin, size); }

void Map(void* begin, size_t size, int device) {
  Memory& memory = GetMemory();
  std::lock_guard<std::mutex> lock(memory.mutex);
  mprotect(begin, size, PROT_READ | PROT_WRITE);
  memory.used[device] += size;
  memory.blocks[Address(begin)] = {begin, size, device, false};
  Log(2, "%zu bytes of device %d are mapped at %p", size, device, begin);
}

CUresult Unmap(void* begin) {
  const std::optional<Block> block = Take(begin);
  if (!block) return CUDA_ERROR_INVALID_VALUE;
  mmap(begin, block->size, PROT_NONE, kFlags | MAP_FIXED, -1, 0);  // as it was reserved
  return CUDA_SUCCESS;
}

void AddHostMemory(void* pointer, size_t size) {
  Memory& memory = GetMemory();
  std::lock_guard<std::mutex> lock(memory.mutex);
  memory.blocks[Address(pointer)] = {pointer, size, 0, true};
}

void RemoveHostMemory(void* pointer) {
  Memory& memory = GetMemory();
  std::lock_guard<std::mutex> lock(memory.mutex);
  memory.blocks.erase(Address(pointer));
}

std::optional<Block> Find(const void* pointer) {
  Memory& memory = GetMemory();
  std::lock_guard<std::mutex> lock(memory.mutex);
  auto after = memory.blocks.upper_bound(Address(pointer));
  if (after == memory.blocks.begin()) return std::nullopt;
  const Block& block = std::prev(after)->second;
  if (Address(pointer) >= Address(block.begin) + block.size) return std::nullopt;
  return block;
}

size_t Available(int device) {
  Memory& memory = GetMemory();
  std::lock_guard<std::mutex> lock(memory.mutex);
  return kUsableMemory - memory.used[device];
}

CUresult Copy(void* to, const void* from, size_t size, CUstream handle, bool is_async) {
  Stream* stream = StreamOf(handle);
  const bool to_pageable = !Find(to);
  if (is_async && !to_pageable && !Find(from)) {  // CUDA has copied pageable memory when it returns
    const auto* bytes = static_cast<const char*>(from);
    auto staged = std::make_shared<std::vector<char>>(bytes, bytes + size);
    stream->Enqueue("copy", [to, staged] { std::memcpy(to, staged->data(), staged->size()); });
    return CUDA_SUCCESS;
  }
  stream->Enqueue("copy", [=] { std::memmove(to, from, size); });
  if (!is_async || to_pageable) stream->Drain();
  return CUDA_SUCCESS;
}

CUresult Fill(void* to, unsigned value, size_t width, size_t count, CUstream handle,
              bool is_async) {
  Stream* stream = StreamOf(handle);
  stream->Enqueue("fill", [=] {
    auto* bytes = static_cast<char*>(to);
    for (size_t i = 0; i < count; ++i) std::memcpy(bytes + i * width, &value, width);
  });
  if (!is_async) stream->Drain();
  return CUDA_SUCCESS;
}

}  // namespace sim
