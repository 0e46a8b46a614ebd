// Python exceptions as text for XLA.

#ifndef TORCH2JAX_BRIDGE_ERRORS_H_
#define TORCH2JAX_BRIDGE_ERRORS_H_

#include <string>

namespace bridge {

// Takes the current Python exception and returns its message followed by its traceback.
// Never raises. Called with the GIL held and an exception set.
std::string TakePythonError();

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_ERRORS_H_
