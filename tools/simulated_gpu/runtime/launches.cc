// Launches of kernels that are compiled into libraries, as nvcc makes them.

#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/context.h"
#include "core/report.h"
#include "core/stream.h"
#include "runtime/api.h"
#include "runtime/kernels.h"

namespace {

struct Names {
  std::mutex mutex;
  std::unordered_map<const void*, std::string> by_function;
};

Names& GetNames() {
  static auto* names = new Names;
  return *names;
}

std::string NameOf(const void* function) {
  Names& names = GetNames();
  std::lock_guard<std::mutex> lock(names.mutex);
  const auto found = names.by_function.find(function);
  return found == names.by_function.end() ? "a kernel without a name" : found->second;
}

cudaError_t Launch(const void* function, void** arguments, cudaStream_t handle) {
  sim::EnsureContext();
  sim::Stream* stream = sim::StreamOf(handle);
  const std::string name = NameOf(function);
  if (stream->device != sim::CurrentDevice()) {
    sim::Misuse("%s is launched on a stream of device %d while device %d is current", name.c_str(),
                stream->device, sim::CurrentDevice());
    return sim::Result(CUDA_ERROR_INVALID_HANDLE);
  }
  sim::Operation operation = sim::Emulate(name, arguments);
  if (operation == nullptr) {
    sim::CountSkipped(name);
    operation = [] {};
  }
  stream->Enqueue(name.c_str(), std::move(operation));
  return cudaSuccess;
}

struct Configuration {
  dim3 grid;
  dim3 block;
  size_t shared_memory;
  cudaStream_t stream;
};

thread_local std::vector<Configuration> configurations;
void* a_binary;

}  // namespace

extern "C" {

void** __cudaRegisterFatBinary(void*) { return &a_binary; }
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}

void __cudaRegisterFunction(void**, const char* function, char*, const char* name, int, uint3*,
                            uint3*, dim3*, dim3*, int*) {
  Names& names = GetNames();
  std::lock_guard<std::mutex> lock(names.mutex);
  names.by_function[function] = name;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared_memory,
                                     cudaStream_t stream) {
  configurations.push_back({grid, block, shared_memory, stream});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared_memory,
                                       void* stream) {
  const Configuration popped = configurations.back();
  configurations.pop_back();
  *grid = popped.grid;
  *block = popped.block;
  *shared_memory = popped.shared_memory;
  *static_cast<cudaStream_t*>(stream) = popped.stream;
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3, dim3, void** arguments, size_t,
                               cudaStream_t stream) {
  return Launch(kernel, arguments, stream);
}

}  // extern "C"

RUNTIME_API cudaLaunchKernel(const void* function, dim3, dim3, void** arguments, size_t,
                             cudaStream_t stream) {
  return Launch(function, arguments, stream);
}

RUNTIME_API cudaLaunchKernelExC(const cudaLaunchConfig_t* configuration, const void* function,
                                void** arguments) {
  return Launch(function, arguments, configuration->stream);
}

RUNTIME_API cudaLaunchCooperativeKernel(const void* function, dim3, dim3, void** arguments, size_t,
                                        cudaStream_t stream) {
  return Launch(function, arguments, stream);
}

RUNTIME_API cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  *attributes = {};
  attributes->maxThreadsPerBlock = 1024;
  attributes->numRegs = 32;
  return cudaSuccess;
}

RUNTIME_API cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }

RUNTIME_API cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* count, const void*, int, size_t) {
  *count = 2;
  return cudaSuccess;
}

RUNTIME_API cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* count, const void*, int,
                                                                   size_t, unsigned) {
  *count = 2;
  return cudaSuccess;
}
