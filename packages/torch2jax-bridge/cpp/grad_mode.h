// Whether PyTorch records gradients on this thread.

#ifndef TORCH2JAX_BRIDGE_GRAD_MODE_H_
#define TORCH2JAX_BRIDGE_GRAD_MODE_H_

#include <pybind11/pybind11.h>

#include <cstdint>

namespace bridge {

// Takes the Python functions that read and set the mode, and the addresses of PyTorch's own
// `bool is_enabled()` and `void set_enabled(bool)`, which cost a hundredth, or zeros if they are
// not known. Must be called once, before any program runs.
void UseGradMode(pybind11::object is_enabled, pybind11::object set_enabled,
                 std::uintptr_t native_is_enabled, std::uintptr_t native_set_enabled);

// For its lifetime no gradients are recorded; then it is as it was before.
class NoGradScope {
 public:
  NoGradScope();
  ~NoGradScope();
  NoGradScope(const NoGradScope&) = delete;
  NoGradScope& operator=(const NoGradScope&) = delete;

 private:
  bool was_enabled_;
};

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_GRAD_MODE_H_
