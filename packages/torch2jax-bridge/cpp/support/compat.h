// What the bridge uses of CPython and PyTorch beyond what they promise, and what happens without
// it.

#ifndef TORCH2JAX_BRIDGE_SUPPORT_COMPAT_H_
#define TORCH2JAX_BRIDGE_SUPPORT_COMPAT_H_

#include <pybind11/pybind11.h>

#include <cstdint>
#include <utility>

#include "support/errors.h"

namespace bridge {

// A method of a class, without arguments, that returns a bool. One that is written in C is called
// as CPython calls it, without being looked up in the object, which costs as much again.
class Predicate {
 public:
  // `name` is a method of `cls`.
  void Find(const pybind11::type& cls, const char* name);
  bool operator()(pybind11::handle object) const {
    const pybind11::object result =
        Checked(function_ != nullptr ? function_(object.ptr(), nullptr)
                                     : PyObject_CallOneArg(method_, object.ptr()));
    return result.ptr() == Py_True;
  }

 private:
  PyObject* method_ = nullptr;  // owned for the life of the process
  PyCFunction function_ = nullptr;
};

// `torch.Tensor._version`: how often operations wrote into a tensor's memory, 0 for a new one.
// Read as CPython reads it where it is an attribute written in C. Where PyTorch has no such
// attribute it is always 0, and functions that change their arguments are not found out.
class VersionCounter {
 public:
  void Find(const pybind11::type& tensor_type);
  long Read(pybind11::handle tensor) const {
    if (!exists_) return 0;
    const pybind11::object version =
        Checked(getter_ != nullptr ? getter_->get(tensor.ptr(), getter_->closure)
                                   : PyObject_GetAttrString(tensor.ptr(), "_version"));
    return PyLong_AsLong(version.ptr());
  }

 private:
  bool exists_ = false;
  PyGetSetDef* getter_ = nullptr;
};

// A function without arguments. One that is written in C is called as CPython calls it.
class Getter {
 public:
  explicit Getter(pybind11::object callable);
  pybind11::object operator()() const {
    return Checked(function_ != nullptr ? function_(self_, nullptr)
                                        : PyObject_CallNoArgs(callable_.ptr()));
  }

 private:
  pybind11::object callable_;
  PyCFunction function_ = nullptr;
  PyObject* self_ = nullptr;  // of the callable
};

// A function of PyTorch's C++ that returns a number, and costs a tenth of Python's.
class NativeGetter {
 public:
  // A tuple of the function's address, three arguments (any, where it takes fewer), and a mask for
  // the bits of the register that the result has.
  static NativeGetter From(pybind11::handle address_arguments_mask);
  std::int64_t operator()() const { return function_(first_, second_, third_) & mask_; }

 private:
  std::int64_t (*function_)(std::int64_t, std::int64_t, std::int64_t) = nullptr;
  std::int64_t first_ = 0;
  std::int64_t second_ = 0;
  std::int64_t third_ = 0;
  std::int64_t mask_ = 0;
};

// A value in a dict, such as a variable of a module.
class ItemGetter {
 public:
  ItemGetter(pybind11::dict dict, pybind11::object key)
      : dict_(std::move(dict)), key_(std::move(key)) {}
  // Borrowed; null if there is none.
  PyObject* operator()() const { return PyDict_GetItemWithError(dict_.ptr(), key_.ptr()); }

 private:
  pybind11::dict dict_;
  pybind11::object key_;
};

// The byte at an address, as a function for `NativeGetter`.
std::int64_t ByteAt(std::int64_t address);

// Where PyTorch has what a thread is in, by its names in C++; zeros where they are not known.
struct NativeModes {
  std::uintptr_t library = 0;  // the handle of the one with `c10::impl::raw_local_dispatch_key_set`
  std::uintptr_t hooks = 0;    // the address of `at::SavedTensorDefaultHooks::get_tls_state()`
  std::uintptr_t functions = 0;  // that of `at::impl::PythonTorchFunctionTLS::get_state()`
};

// Takes it, before any thread asks for what follows.
void UseNativeModes(const NativeModes& modes);

// The keys by which PyTorch finds kernels on this thread beyond those of each: included, excluded.
std::pair<std::uint64_t, std::uint64_t> KeysOfThread();

// Whether this thread is in a mode of functions or has hooks for the tensors of every graph, or has
// one of these keys, as a function for `NativeGetter`.
std::int64_t IsInModes(std::int64_t included, std::int64_t excluded);

// PyTorch's `bool c10::GradMode::is_enabled()` and `void c10::GradMode::set_enabled(bool)`, which
// cost a hundredth of Python's. Null where they are not known.
struct NativeGradMode {
  bool (*is_enabled)() = nullptr;
  void (*set_enabled)(bool) = nullptr;
};

inline NativeGradMode NativeGradModeAt(std::uintptr_t is_enabled, std::uintptr_t set_enabled) {
  return {reinterpret_cast<bool (*)()>(is_enabled), reinterpret_cast<void (*)(bool)>(set_enabled)};
}

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_SUPPORT_COMPAT_H_
