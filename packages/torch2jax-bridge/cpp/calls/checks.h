// What says quickly whether a thread has the settings of a trace.

#ifndef TORCH2JAX_BRIDGE_CALLS_CHECKS_H_
#define TORCH2JAX_BRIDGE_CALLS_CHECKS_H_

#include <pybind11/pybind11.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "support/compat.h"

namespace bridge {

// Functions without arguments, places in dicts, and what is there where the settings are those of
// the trace: the very object, or the same number of PyTorch's C++. Used with the GIL held.
class Checks {
 public:
  // Takes pairs of a function and an object, pairs of what `NativeGetter::From` takes and a number,
  // and pairs of a place, which is a dict and a key, and the object there.
  Checks(const pybind11::iterable& getters, const pybind11::iterable& native,
         const pybind11::iterable& items);
  bool Hold() const;

 private:
  std::vector<std::pair<Getter, pybind11::object>> getters_;
  std::vector<std::pair<NativeGetter, std::int64_t>> native_;
  std::vector<std::pair<ItemGetter, pybind11::object>> items_;
};

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_CALLS_CHECKS_H_
