// The state of PyTorch and JAX while a wrapped function runs.

#ifndef TORCH2JAX_BRIDGE_SCOPE_H_
#define TORCH2JAX_BRIDGE_SCOPE_H_

#include <pybind11/pybind11.h>

#include <cstdint>

namespace bridge {

// Takes the Python functions `set_forbidden(bool)`, which returns what it found, and
// `restore(found)`. Must be called once, before any program runs.
void UseExecutionSwitch(pybind11::object set_forbidden, pybind11::object restore);

// Takes `enter(stream_pointer, device_ordinal, run_id)`, which makes XLA's stream PyTorch's current
// one and returns what it found, and `leave(found)`. Must be called before a CUDA program runs.
void UseStreamScope(pybind11::object enter, pybind11::object leave);

// For its lifetime JAX refuses to execute programs: a function that waits for JAX inside of a JAX
// program can wait for ever.
class NoExecutionScope {
 public:
  NoExecutionScope();
  ~NoExecutionScope();
  NoExecutionScope(const NoExecutionScope&) = delete;
  NoExecutionScope& operator=(const NoExecutionScope&) = delete;

 private:
  pybind11::object execution_;
};

// For its lifetime PyTorch's current stream is XLA's.
class StreamScope {
 public:
  StreamScope(void* stream, int32_t ordinal, int64_t run_id);
  ~StreamScope();
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  pybind11::object found_;
};

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_SCOPE_H_
