// How libraries find entry points of the driver by name. What is not simulated is not found.

#include <cuda.h>
#include <dlfcn.h>

#include <string>

#include "core/report.h"

#undef cuGetProcAddress

extern "C" CUresult cuGetProcAddress_v2(const char* name, void** found, int, cuuint64_t,
                                        CUdriverProcAddressQueryResult* result) {
  *found = nullptr;
  for (const char* suffix : {"_v3", "_v2", ""}) {
    *found = dlsym(RTLD_DEFAULT, (std::string(name) + suffix).c_str());
    if (*found != nullptr) break;
  }
  if (*found == nullptr) sim::Log(2, "not simulated: %s", name);
  if (result != nullptr) {
    *result =
        *found == nullptr ? CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND : CU_GET_PROC_ADDRESS_SUCCESS;
  }
  return CUDA_SUCCESS;
}

extern "C" CUresult cuGetProcAddress(const char* name, void** found, int version,
                                     cuuint64_t flags) {
  return cuGetProcAddress_v2(name, found, version, flags, nullptr);
}

extern "C" CUresult cuGetExportTable(const void** table, const CUuuid*) {
  *table = nullptr;
  return CUDA_ERROR_NOT_FOUND;
}
