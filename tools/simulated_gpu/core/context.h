// The device of a thread, as the driver and the runtime see it.

#ifndef SIMULATED_GPU_CORE_CONTEXT_H_
#define SIMULATED_GPU_CORE_CONTEXT_H_

#include <cuda.h>

namespace sim {

// Each device has one context, its primary one.
CUcontext ContextOf(int device);
int DeviceOf(CUcontext context);

// The driver's current context of this thread, null if there is none.
CUcontext CurrentContext();
void SetCurrentContext(CUcontext context);
void PushContext(CUcontext context);
CUcontext PopContext();

// The runtime's device of this thread: that of the current context, else the one that was chosen.
int CurrentDevice();
void ChooseDevice(int device);

}  // namespace sim

#endif  // SIMULATED_GPU_CORE_CONTEXT_H_
