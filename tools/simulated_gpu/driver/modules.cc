// Modules and kernels of the driver's. XLA's are compiled code: they can be launched, and do
// nothing.

#include <cstdio>
#include <string>

#include "core/context.h"
#include "core/report.h"
#include "core/stream.h"
#include "driver/api.h"

namespace {

char a_module;  // all of them are the same one

const std::string& NameOf(CUfunction function) { return *reinterpret_cast<std::string*>(function); }

CUresult Launch(CUfunction function, CUstream handle) {
  sim::Stream* stream = sim::StreamOf(handle);
  if (stream->device != sim::CurrentDevice()) {
    sim::Misuse("%s is launched on a stream of device %d while device %d is current",
                NameOf(function).c_str(), stream->device, sim::CurrentDevice());
    return CUDA_ERROR_INVALID_HANDLE;
  }
  sim::CountSkipped(NameOf(function));
  stream->Enqueue("kernel of XLA's", [] {});
  return CUDA_SUCCESS;
}

template <typename Handle>
CUresult Load(Handle* loaded) {
  *loaded = reinterpret_cast<Handle>(&a_module);
  return CUDA_SUCCESS;
}

// Functions live as long as the process, like the programs of a test.
template <typename Handle>
CUresult Find(Handle* function, const char* name) {
  *function = reinterpret_cast<Handle>(new std::string(name));
  return CUDA_SUCCESS;
}

}  // namespace

DRIVER_API cuModuleLoadData(CUmodule* loaded, const void*) { return Load(loaded); }

DRIVER_API cuModuleLoadDataEx(CUmodule* loaded, const void*, unsigned, CUjit_option*, void**) {
  return Load(loaded);
}

DRIVER_API cuModuleLoadFatBinary(CUmodule* loaded, const void*) { return Load(loaded); }
DRIVER_API cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }

DRIVER_API cuModuleGetFunction(CUfunction* function, CUmodule, const char* name) {
  return Find(function, name);
}

// XLA writes constants there; no kernel reads them.
DRIVER_API cuModuleGetGlobal(CUdeviceptr* address, size_t* size, CUmodule, const char*) {
  constexpr size_t kMost = size_t{1} << 20;
  if (size != nullptr) *size = kMost;
  return cuMemAlloc(address, kMost);
}

DRIVER_API cuLibraryLoadData(CUlibrary* loaded, const void*, CUjit_option*, void**, unsigned,
                             CUlibraryOption*, void**, unsigned) {
  return Load(loaded);
}

DRIVER_API cuLibraryUnload(CUlibrary) { return CUDA_SUCCESS; }

DRIVER_API cuLibraryGetKernel(CUkernel* kernel, CUlibrary, const char* name) {
  return Find(kernel, name);
}

DRIVER_API cuKernelGetFunction(CUfunction* function, CUkernel kernel) {
  *function = reinterpret_cast<CUfunction>(kernel);
  return CUDA_SUCCESS;
}

DRIVER_API cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction) {
  *value = attribute == CU_FUNC_ATTRIBUTE_NUM_REGS                ? 32
           : attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024
                                                                  : 0;
  return CUDA_SUCCESS;
}

DRIVER_API cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) { return CUDA_SUCCESS; }
DRIVER_API cuFuncSetCacheConfig(CUfunction, CUfunc_cache) { return CUDA_SUCCESS; }

DRIVER_API cuFuncGetName(const char** name, CUfunction function) {
  *name = NameOf(function).c_str();
  return CUDA_SUCCESS;
}

DRIVER_API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* count, CUfunction, int, size_t) {
  *count = 2;
  return CUDA_SUCCESS;
}

DRIVER_API cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* count, CUfunction, int, size_t,
                                                                unsigned) {
  *count = 2;
  return CUDA_SUCCESS;
}

DRIVER_API cuLaunchKernel(CUfunction function, unsigned, unsigned, unsigned, unsigned, unsigned,
                          unsigned, unsigned, CUstream stream, void**, void**) {
  return Launch(function, stream);
}

DRIVER_API cuLaunchKernelEx(const CUlaunchConfig* configuration, CUfunction function, void**,
                            void**) {
  return Launch(function, configuration->hStream);
}

DRIVER_API cuGetErrorName(CUresult error, const char** name) {
  static thread_local char text[32];
  std::snprintf(text, sizeof text, "CUDA_ERROR_%d", static_cast<int>(error));
  *name = text;
  return CUDA_SUCCESS;
}

DRIVER_API cuGetErrorString(CUresult error, const char** name) {
  return cuGetErrorName(error, name);
}
