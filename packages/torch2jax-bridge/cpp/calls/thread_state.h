// The state of this thread, in PyTorch and JAX, that a call sets and restores.

#ifndef TORCH2JAX_BRIDGE_CALLS_THREAD_STATE_H_
#define TORCH2JAX_BRIDGE_CALLS_THREAD_STATE_H_

#include <pybind11/pybind11.h>

#include <cstdint>

#include "calls/registry.h"

namespace bridge {

// Takes the addresses of PyTorch's functions that read and set the grad mode, zeros where they are
// not known: then Python's are called.
void UseNativeGradMode(std::uintptr_t is_enabled, std::uintptr_t set_enabled);

// XLA's number for the run of the program that this thread is in, on a CPU.
inline thread_local std::int64_t current_cpu_run = 0;

// For its lifetime denormal numbers are zeros on this thread, or they are not. XLA lets them be
// zeros in all that it runs.
class DenormalScope {
 public:
  explicit DenormalScope(bool flush);
  ~DenormalScope();
  DenormalScope(const DenormalScope&) = delete;
  DenormalScope& operator=(const DenormalScope&) = delete;

 private:
  std::uint64_t found_;
};

// Whether denormal numbers are zeros on this thread.
bool FlushesDenormals();

// For its lifetime PyTorch's settings on this thread are those of the trace. Then they are what
// they were before, also where the function itself has changed them.
class SettingsScope {
 public:
  explicit SettingsScope(const Callable& callable);
  ~SettingsScope();
  SettingsScope(const SettingsScope&) = delete;
  SettingsScope& operator=(const SettingsScope&) = delete;

 private:
  const Callable& callable_;
  pybind11::object found_;  // null if nothing had to be set
};

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

// For its lifetime JAX refuses to execute programs: a function that waits for JAX inside of a JAX
// program can wait for ever.
class NoExecutionScope {
 public:
  NoExecutionScope();
  ~NoExecutionScope();
  NoExecutionScope(const NoExecutionScope&) = delete;
  NoExecutionScope& operator=(const NoExecutionScope&) = delete;

 private:
  pybind11::object found_;
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

#endif  // TORCH2JAX_BRIDGE_CALLS_THREAD_STATE_H_
