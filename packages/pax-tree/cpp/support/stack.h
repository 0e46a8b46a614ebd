// A growing array for the time of one walk.
#pragma once

#include <Python.h>

#include <cstring>
#include <type_traits>
#include <utility>

#include "support/errors.h"

namespace pax_tree {

// Memory that one walk leaves for the next one of the same thread.
template <typename T>
class KeptMemory {
 public:
  ~KeptMemory() { PyMem_RawFree(memory_); }

  // Hands over what was kept; null if nothing was.
  T* Take(size_t* capacity) {
    *capacity = std::exchange(capacity_, 0);
    return std::exchange(memory_, nullptr);
  }
  void GiveBack(T* memory, size_t capacity) {
    bool keep = capacity <= kMost && capacity > capacity_;
    if (keep) {
      std::swap(memory, memory_);
      capacity_ = capacity;
    }
    PyMem_RawFree(memory);
  }
  static KeptMemory& OfThread() {
    thread_local KeptMemory kept;
    return kept;
  }

 private:
  static constexpr size_t kMost = (size_t{1} << 20) / sizeof(T);
  T* memory_ = nullptr;
  size_t capacity_ = 0;
};

// The first few items are on the C stack; a walk within a walk has its own memory.
template <typename T, size_t kInline>
class Stack {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Stack() = default;
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  ~Stack() {
    if (data_ != Inline()) KeptMemory<T>::OfThread().GiveBack(data_, capacity_);
  }

  size_t size() const { return size_; }
  T* data() { return data_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }

  // Sets the number of items, which is at most what was reserved.
  void Resize(size_t size) { size_ = size; }
  // The place of the next item after making room for `count` more; null with MemoryError set.
  T* Reserve(size_t count) {
    if (count > capacity_ - size_ && !Grow(count)) return nullptr;
    return data_ + size_;
  }

 private:
  T* Inline() { return reinterpret_cast<T*>(inline_); }

  bool Grow(size_t count) {
    size_t wanted = size_ + count, doubled = 2 * capacity_;
    size_t capacity = wanted > doubled ? wanted : doubled;
    if (capacity > PY_SSIZE_T_MAX / sizeof(T)) return RaiseNoMemory();
    return data_ == Inline() ? LeaveInline(capacity) : Enlarge(capacity);
  }

  bool LeaveInline(size_t capacity) {
    size_t kept = 0;
    T* memory = KeptMemory<T>::OfThread().Take(&kept);
    if (kept < capacity) {
      void* larger = PyMem_RawRealloc(memory, capacity * sizeof(T));
      if (larger == nullptr) {
        PyMem_RawFree(memory);
        return RaiseNoMemory();
      }
      memory = static_cast<T*>(larger);
      kept = capacity;
    }
    std::memcpy(static_cast<void*>(memory), inline_, size_ * sizeof(T));
    data_ = memory;
    capacity_ = kept;
    return true;
  }

  bool Enlarge(size_t capacity) {
    void* larger = PyMem_RawRealloc(data_, capacity * sizeof(T));
    if (larger == nullptr) return RaiseNoMemory();
    data_ = static_cast<T*>(larger);
    capacity_ = capacity;
    return true;
  }

  alignas(T) unsigned char inline_[kInline * sizeof(T)];
  T* data_ = Inline();
  size_t size_ = 0;
  size_t capacity_ = kInline;
};

}  // namespace pax_tree
