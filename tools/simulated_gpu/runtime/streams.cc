#include "core/stream.h"
#include "runtime/api.h"

using sim::Result;

RUNTIME_API cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  sim::EnsureContext();
  return Result(cuStreamCreateWithPriority(stream, flags, priority));
}

RUNTIME_API cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithPriority(stream, 0, 0);
}

RUNTIME_API cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}

RUNTIME_API cudaStreamDestroy(cudaStream_t stream) { return Result(cuStreamDestroy(stream)); }

RUNTIME_API cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  return Result(cuStreamGetPriority(stream, priority));
}

RUNTIME_API cudaStreamQuery(cudaStream_t stream) { return Result(cuStreamQuery(stream)); }

RUNTIME_API cudaStreamSynchronize(cudaStream_t stream) {
  return Result(cuStreamSynchronize(stream));
}

RUNTIME_API cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return Result(cuStreamWaitEvent(stream, event, flags));
}

RUNTIME_API cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t function, void* data,
                                  unsigned) {
  const auto call = [=] { function(stream, cudaSuccess, data); };
  sim::StreamOf(stream)->Enqueue("callback", call);
  return cudaSuccess;
}

RUNTIME_API cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return Result(cuLaunchHostFunc(stream, function, data));
}

RUNTIME_API cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

RUNTIME_API cudaStreamGetCaptureInfo(cudaStream_t, cudaStreamCaptureStatus* status,
                                     unsigned long long* id, cudaGraph_t*, const cudaGraphNode_t**,
                                     const cudaGraphEdgeData**, size_t* count) {
  *status = cudaStreamCaptureStatusNone;
  if (id != nullptr) *id = 0;
  if (count != nullptr) *count = 0;
  return cudaSuccess;
}

RUNTIME_API cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  return Result(cuThreadExchangeStreamCaptureMode(reinterpret_cast<CUstreamCaptureMode*>(mode)));
}

RUNTIME_API cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  sim::EnsureContext();
  return Result(cuEventCreate(event, flags));
}

RUNTIME_API cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
RUNTIME_API cudaEventDestroy(cudaEvent_t event) { return Result(cuEventDestroy(event)); }

RUNTIME_API cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return Result(cuEventRecord(event, stream));
}

RUNTIME_API cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return Result(cuEventRecord(event, stream));
}

RUNTIME_API cudaEventQuery(cudaEvent_t event) { return Result(cuEventQuery(event)); }
RUNTIME_API cudaEventSynchronize(cudaEvent_t event) { return Result(cuEventSynchronize(event)); }

RUNTIME_API cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  return Result(cuEventElapsedTime(milliseconds, begin, end));
}
