// The few functions of CUDA's driver that the bridge calls, found in the process by name: the
// package is built without CUDA and works where there is none.

#ifndef TORCH2JAX_BRIDGE_CUDA_DRIVER_H_
#define TORCH2JAX_BRIDGE_CUDA_DRIVER_H_

namespace bridge::cuda {

using Context = void*;
using Event = void*;
using Stream = void*;
using Status = int;

constexpr Status kSuccess = 0;
constexpr unsigned kBlockingWithoutTime =
    1 | 2;                        // CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING
constexpr int kRelaxed = 2;       // CU_STREAM_CAPTURE_MODE_RELAXED
constexpr int kNotCapturing = 0;  // CU_STREAM_CAPTURE_STATUS_NONE

struct Driver {
  Status (*retain_context)(Context* context, int device);
  Status (*push_context)(Context context);
  Status (*pop_context)(Context* context);
  Status (*create_event)(Event* event, unsigned flags);
  Status (*record_event)(Event event, Stream stream);
  Status (*wait_for_event)(Event event);
  Status (*is_capturing)(Stream stream, int* status);
  Status (*exchange_capture_mode)(int* mode);
};

// The driver, null where the process has none.
const Driver* GetDriver();

}  // namespace bridge::cuda

#endif  // TORCH2JAX_BRIDGE_CUDA_DRIVER_H_
