// Fewer page faults in large output buffers.

#ifndef TORCH2JAX_BRIDGE_PAGES_H_
#define TORCH2JAX_BRIDGE_PAGES_H_

#include <cstddef>

namespace bridge {

// Asks the system for huge pages in fresh memory that is about to be written as a whole, as NumPy
// does for its arrays. Only a hint; does nothing for small memory and on other systems than Linux.
void AdviseHugePages(void* data, size_t size);

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_PAGES_H_
