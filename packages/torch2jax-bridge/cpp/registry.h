// The Python callables behind custom calls. A program names its callable by a number; every
// compiled program shares in its ownership from the moment it is loaded until it is freed.

#ifndef TORCH2JAX_BRIDGE_REGISTRY_H_
#define TORCH2JAX_BRIDGE_REGISTRY_H_

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>

#include "xla/ffi/api/ffi.h"

namespace bridge {

// An owned reference to a Python callable that any thread may drop, with or without the GIL.
class Callable {
 public:
  explicit Callable(PyObject* owned) : object_(owned) {}
  ~Callable();
  Callable(const Callable&) = delete;
  Callable& operator=(const Callable&) = delete;
  PyObject* get() const { return object_; }

 private:
  PyObject* object_;
};

// Keeps a callable findable by `id()`. Made and destroyed with the GIL held.
class Handle {
 public:
  explicit Handle(pybind11::function callable);
  ~Handle();
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  int64_t id() const { return id_; }

 private:
  int64_t id_;
};

// XLA's state of one custom call in one loaded program.
struct ProgramState {
  static xla::ffi::TypeId id;
  std::shared_ptr<Callable> callable;
};

// The callable numbered `id`, null when no such callable lives. Needs no GIL.
std::shared_ptr<Callable> FindCallable(int64_t id);

// Drops the references handed over by threads that did not hold the GIL. Called with the GIL held.
void DropReleased();

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_REGISTRY_H_
