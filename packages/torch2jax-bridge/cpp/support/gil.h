// Entering Python from a thread of XLA's: counted, refused once the interpreter shuts down.

#ifndef TORCH2JAX_BRIDGE_SUPPORT_GIL_H_
#define TORCH2JAX_BRIDGE_SUPPORT_GIL_H_

#include <pybind11/pybind11.h>

namespace bridge {

// Whether this process is a fork of the one that imported this module: XLA does not work there.
bool IsForked();

// A call in flight. `ok()` is false after Shutdown; such a call must not touch Python.
class InFlight {
 public:
  InFlight();
  ~InFlight();
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;
  bool ok() const { return ok_; }

 private:
  bool ok_;
};

// Holds the GIL for its lifetime, at less cost than pybind11's, which keeps thread states of its
// own.
class GilScope {
 public:
  GilScope() : state_(PyGILState_Ensure()) {}
  ~GilScope() { PyGILState_Release(state_); }
  GilScope(const GilScope&) = delete;
  GilScope& operator=(const GilScope&) = delete;

 private:
  PyGILState_STATE state_;
};

// Refuses new calls and waits, without the GIL, at most `seconds` for those in flight.
// Returns whether all of them have ended. Called with the GIL held.
bool Shutdown(double seconds);

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_SUPPORT_GIL_H_
