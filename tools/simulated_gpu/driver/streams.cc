// Streams and events. Streams cannot be captured.

#include <memory>
#include <utility>

#include "core/context.h"
#include "core/report.h"
#include "core/stream.h"
#include "driver/api.h"

namespace {

sim::Event* EventOf(CUevent handle) { return reinterpret_cast<sim::Event*>(handle); }

}  // namespace

DRIVER_API cuStreamCreateWithPriority(CUstream* stream, unsigned, int priority) {
  *stream = sim::HandleOf(sim::NewStream(sim::CurrentDevice(), priority));
  return CUDA_SUCCESS;
}

DRIVER_API cuStreamCreate(CUstream* stream, unsigned flags) {
  return cuStreamCreateWithPriority(stream, flags, 0);
}

DRIVER_API cuStreamDestroy(CUstream stream) {
  sim::StreamOf(stream)->Destroy();
  return CUDA_SUCCESS;
}

DRIVER_API cuStreamGetCtx(CUstream stream, CUcontext* context) {
  *context = sim::ContextOf(sim::StreamOf(stream)->device);
  return CUDA_SUCCESS;
}

DRIVER_API cuStreamGetPriority(CUstream stream, int* priority) {
  *priority = sim::StreamOf(stream)->priority;
  return CUDA_SUCCESS;
}

DRIVER_API cuStreamGetFlags(CUstream, unsigned* flags) {
  *flags = CU_STREAM_NON_BLOCKING;
  return CUDA_SUCCESS;
}

DRIVER_API cuStreamGetId(CUstream stream, unsigned long long* id) {
  *id = static_cast<unsigned long long>(sim::StreamOf(stream)->number);
  return CUDA_SUCCESS;
}

DRIVER_API cuStreamSynchronize(CUstream stream) {
  sim::CountCall("cuStreamSynchronize");
  sim::StreamOf(stream)->Drain();
  return CUDA_SUCCESS;
}

DRIVER_API cuStreamQuery(CUstream stream) {
  return sim::StreamOf(stream)->IsIdle() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

DRIVER_API cuLaunchHostFunc(CUstream stream, CUhostFn function, void* data) {
  sim::StreamOf(stream)->Enqueue("host function", [=] { function(data); });
  return CUDA_SUCCESS;
}

DRIVER_API cuStreamAddCallback(CUstream stream, CUstreamCallback function, void* data, unsigned) {
  const auto call = [=] { function(stream, CUDA_SUCCESS, data); };
  sim::StreamOf(stream)->Enqueue("callback", call);
  return CUDA_SUCCESS;
}

DRIVER_API cuEventCreate(CUevent* event, unsigned) {
  sim::CountCall("cuEventCreate");
  *event = reinterpret_cast<CUevent>(new sim::Event{sim::CurrentDevice(), nullptr});
  return CUDA_SUCCESS;
}

DRIVER_API cuEventDestroy(CUevent event) {
  delete EventOf(event);
  return CUDA_SUCCESS;
}

DRIVER_API cuEventRecord(CUevent handle, CUstream stream_handle) {
  sim::CountCall("cuEventRecord");
  sim::Event* event = EventOf(handle);
  sim::Stream* stream = sim::StreamOf(stream_handle);
  if (event->device != stream->device) {
    sim::Misuse("an event of device %d is recorded on a stream of device %d", event->device,
                stream->device);
    return CUDA_ERROR_INVALID_HANDLE;
  }
  auto place = std::make_shared<sim::Place>();
  event->place = place;
  stream->Enqueue("record event", [place] { place->Pass(); });
  return CUDA_SUCCESS;
}

DRIVER_API cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned) {
  return cuEventRecord(event, stream);
}

DRIVER_API cuEventQuery(CUevent event) {
  const auto place = EventOf(event)->place;
  return place == nullptr || place->IsPassed() ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

DRIVER_API cuEventSynchronize(CUevent event) {
  sim::CountCall("cuEventSynchronize");
  if (const auto place = EventOf(event)->place) place->Wait();
  return CUDA_SUCCESS;
}

DRIVER_API cuEventElapsedTime(float* milliseconds, CUevent begin, CUevent end) {
  const auto from = EventOf(begin)->place;
  const auto to = EventOf(end)->place;
  if (from == nullptr || to == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (!from->IsPassed() || !to->IsPassed()) return CUDA_ERROR_NOT_READY;
  *milliseconds = static_cast<float>(to->PassedAt() - from->PassedAt());
  return CUDA_SUCCESS;
}

DRIVER_API cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  if (const auto place = EventOf(event)->place) {
    sim::StreamOf(stream)->Enqueue("wait for event", [place] { place->Wait(); });
  }
  return CUDA_SUCCESS;
}

DRIVER_API cuStreamBeginCapture(CUstream, CUstreamCaptureMode) { return CUDA_ERROR_NOT_SUPPORTED; }

DRIVER_API cuStreamIsCapturing(CUstream, CUstreamCaptureStatus* status) {
  *status = CU_STREAM_CAPTURE_STATUS_NONE;
  return CUDA_SUCCESS;
}

DRIVER_API cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
  static thread_local CUstreamCaptureMode current = CU_STREAM_CAPTURE_MODE_GLOBAL;
  std::swap(*mode, current);
  return CUDA_SUCCESS;
}
