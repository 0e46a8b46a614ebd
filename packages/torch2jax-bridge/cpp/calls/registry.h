// The Python callables behind custom calls. A program names its callable by a number; every
// compiled program shares in its ownership from the moment it is loaded until it is freed.

#ifndef TORCH2JAX_BRIDGE_CALLS_REGISTRY_H_
#define TORCH2JAX_BRIDGE_CALLS_REGISTRY_H_

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "calls/checks.h"
#include "xla/ffi/api/ffi.h"

namespace bridge {

// How a callable wants to be called.
struct CallOptions {
  std::string name;                // how messages call it
  std::string note;                // what may help when it fails
  bool narrow = false;             // 64-bit results go into 32-bit buffers
  bool takes_outputs = false;      // tensors over the output buffers follow the arguments
  bool keeps_inputs = false;       // what it keeps of its arguments is looked after by itself
  bool strict = false;             // keeping arguments is an error
  bool flushes_denormals = false;  // denormal numbers are zeros
  std::vector<bool> written;  // which arguments it may change: those that share an output's buffer
  std::vector<std::string> names;  // what messages call the first arguments
};

// What messages call an argument.
std::string ArgumentLabel(const CallOptions& options, size_t index);

// A Python function, and the settings of PyTorch's under which it runs. Owned; any thread may drop
// it, with or without the GIL.
class Callable {
 public:
  // `owned` is the tuple (function, settings, checks, checks of the thread's own). The checks say
  // whether a thread has the settings, None if they are to be set whatever it has.
  Callable(PyObject* owned, CallOptions options);
  ~Callable();
  Callable(const Callable&) = delete;
  Callable& operator=(const Callable&) = delete;
  PyObject* function() const { return PyTuple_GET_ITEM(object_, 0); }
  PyObject* settings() const { return PyTuple_GET_ITEM(object_, 1); }
  const Checks* checks() const { return checks_; }
  const Checks* checks_of_thread() const { return checks_of_thread_; }

  const CallOptions options;

 private:
  PyObject* object_;
  const Checks* checks_;
  const Checks* checks_of_thread_;
};

// Keeps a callable findable by `id()`. Made and destroyed with the GIL held.
class Handle {
 public:
  // `settings` has the attributes `checks` and `checks_of_thread`.
  Handle(pybind11::object function, pybind11::object settings, CallOptions options);
  ~Handle();
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  int64_t id() const { return id_; }

 private:
  int64_t id_;
};

enum class Platform { kCpu, kCuda };

// XLA's state of one custom call in one loaded program. Each platform's XLA numbers the types of
// states by itself and writes its number into `id`, so each has a type of its own.
template <Platform platform>
struct ProgramState {
  static inline xla::ffi::TypeId id = {};
  std::shared_ptr<Callable> callable;
};

// The callable numbered `id`, null when no such callable lives. Needs no GIL.
std::shared_ptr<Callable> FindCallable(int64_t id);

// Drops the references handed over by threads that did not hold the GIL. Called with the GIL held.
void DropReleased();

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_CALLS_REGISTRY_H_
