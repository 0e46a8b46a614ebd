// What says quickly whether a thread has the settings of a trace.

#ifndef TORCH2JAX_BRIDGE_CALLS_CHECKS_H_
#define TORCH2JAX_BRIDGE_CALLS_CHECKS_H_

#include <pybind11/pybind11.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "support/compat.h"

namespace bridge {

// Functions without arguments and what they return where the settings are those of the trace: the
// very object, or the same number if they are PyTorch's C++. Used with the GIL held.
class Checks {
 public:
  // Takes pairs of a function and an object, and pairs of what `NativeGetter::From` takes and a
  // number.
  Checks(const pybind11::iterable& getters, const pybind11::iterable& native);
  bool Hold() const;

 private:
  std::vector<std::pair<Getter, pybind11::object>> getters_;
  std::vector<std::pair<NativeGetter, std::int64_t>> native_;
};

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_CALLS_CHECKS_H_
