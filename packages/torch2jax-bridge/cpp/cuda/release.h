// Memory of JAX's that PyTorch used on a GPU goes back when PyTorch's streams have passed the place
// where its last tensor died. The thread in which it died records an event on each of them and goes
// on; a thread of the bridge's own, one for each device, waits for the events.

#ifndef TORCH2JAX_BRIDGE_CUDA_RELEASE_H_
#define TORCH2JAX_BRIDGE_CUDA_RELEASE_H_

#include <functional>
#include <vector>

#include "cuda/driver.h"

namespace bridge::cuda {

// Calls `release` on another thread once the streams, which are of the device, have done all that
// was enqueued so far. Memory of one device is released in the order in which it died. Needs no
// GIL. A stream that is being captured is left out: what is captured keeps its memory by itself.
void ReleaseAfter(int device, const std::vector<Stream>& streams, std::function<void()> release);

}  // namespace bridge::cuda

#endif  // TORCH2JAX_BRIDGE_CUDA_RELEASE_H_
