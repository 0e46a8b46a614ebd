#include "cuda/driver.h"

#include <optional>

#ifdef __linux__
#include <dlfcn.h>
#endif

namespace bridge::cuda {
namespace {

#ifdef __linux__

template <typename Function>
bool Find(void* library, const char* name, Function** function) {
  *function = reinterpret_cast<Function*>(dlsym(library, name));
  return *function != nullptr;
}

std::optional<Driver> Load() {
  void* library = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) return std::nullopt;
  Driver driver{};
  const bool found =
      Find(library, "cuDevicePrimaryCtxRetain", &driver.retain_context) &&
      Find(library, "cuCtxPushCurrent_v2", &driver.push_context) &&
      Find(library, "cuCtxPopCurrent_v2", &driver.pop_context) &&
      Find(library, "cuEventCreate", &driver.create_event) &&
      Find(library, "cuEventRecord", &driver.record_event) &&
      Find(library, "cuEventSynchronize", &driver.wait_for_event) &&
      Find(library, "cuStreamIsCapturing", &driver.is_capturing) &&
      Find(library, "cuThreadExchangeStreamCaptureMode", &driver.exchange_capture_mode);
  return found ? std::optional<Driver>(driver) : std::nullopt;
}

#else

std::optional<Driver> Load() { return std::nullopt; }

#endif

}  // namespace

const Driver* GetDriver() {
  static const std::optional<Driver> driver = Load();
  return driver ? &*driver : nullptr;
}

}  // namespace bridge::cuda
