// Owning references: one object, and a short array of objects.
#pragma once

#include <Python.h>

#include <cstring>
#include <utility>

#include "support/errors.h"

namespace pax_tree {

// One owned reference; null means "nothing" or "a Python error is set".
class Ref {
 public:
  Ref() = default;
  explicit Ref(PyObject* owned) : ptr_(owned) {}
  Ref(Ref&& other) noexcept : ptr_(other.release()) {}
  Ref& operator=(Ref&& other) noexcept {
    PyObject* old = ptr_;
    ptr_ = other.release();
    Py_XDECREF(old);
    return *this;
  }
  Ref(const Ref&) = delete;
  Ref& operator=(const Ref&) = delete;
  ~Ref() { Py_XDECREF(ptr_); }

  static Ref Borrow(PyObject* borrowed) { return Ref(Py_XNewRef(borrowed)); }
  PyObject* get() const { return ptr_; }
  PyObject* release() { return std::exchange(ptr_, nullptr); }
  explicit operator bool() const { return ptr_ != nullptr; }

 private:
  PyObject* ptr_ = nullptr;
};

// A fixed number of owned slots with one spare slot before the first, as vectorcall wants it.
// Slots start as null; up to `kInline` of them are on the C stack.
template <Py_ssize_t kInline>
class SlotArray {
 public:
  SlotArray() = default;
  SlotArray(const SlotArray&) = delete;
  SlotArray& operator=(const SlotArray&) = delete;
  ~SlotArray() {
    for (Py_ssize_t i = 0; i < size_; ++i) Py_XDECREF(data_[i]);
    if (data_ != inline_ + 1) PyMem_Free(data_ - 1);
  }

  bool Allocate(Py_ssize_t size) {
    if (size > kInline) {
      auto* memory = static_cast<PyObject**>(PyMem_Calloc(size + 1, sizeof(PyObject*)));
      if (memory == nullptr) return RaiseNoMemory();
      data_ = memory + 1;
    } else {
      for (Py_ssize_t i = 0; i <= size; i += kBlock)
        std::memset(inline_ + i, 0, sizeof(void*) * kBlock);
    }
    size_ = size;
    return true;
  }
  PyObject** data() { return data_; }
  PyObject*& operator[](Py_ssize_t i) { return data_[i]; }

 private:
  static constexpr Py_ssize_t kBlock = 8;  // cleared at once, by a few instructions
  static_assert((kInline + 1) % kBlock == 0);
  PyObject* inline_[kInline + 1];
  PyObject** data_ = inline_ + 1;
  Py_ssize_t size_ = 0;
};
using Slots = SlotArray<7>;

}  // namespace pax_tree
