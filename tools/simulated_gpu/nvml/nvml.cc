// The management library: it counts the devices and knows nothing else.

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kSuccess = 0;
constexpr int kNotSupported = 3;

int Count() {
  const char* text = std::getenv("SIMULATED_GPU_DEVICES");
  return text == nullptr ? 1 : std::atoi(text);
}

int Handle(std::uintptr_t number, void** device) {
  *device = reinterpret_cast<void*>(number + 1);
  return kSuccess;
}

}  // namespace

extern "C" {

int nvmlInit() { return kSuccess; }
int nvmlInit_v2() { return kSuccess; }
int nvmlInitWithFlags(unsigned) { return kSuccess; }
int nvmlShutdown() { return kSuccess; }
const char* nvmlErrorString(int) { return "not simulated"; }

int nvmlSystemGetDriverVersion(char* version, unsigned size) {
  std::strncpy(version, "580.65.06", size);
  return kSuccess;
}

int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = static_cast<unsigned>(Count());
  return kSuccess;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) { return Handle(index, device); }
int nvmlDeviceGetHandleByPciBusId_v2(const char*, void** device) { return Handle(0, device); }
int nvmlDeviceGetHandleByUUID(const char*, void** device) { return Handle(0, device); }

#define NOT_SUPPORTED(name) \
  int name() { return kNotSupported; }

NOT_SUPPORTED(nvmlDeviceGetBusType)
NOT_SUPPORTED(nvmlDeviceGetComputeRunningProcesses_v3)
NOT_SUPPORTED(nvmlDeviceGetFieldValues)
NOT_SUPPORTED(nvmlDeviceGetGpuFabricInfo)
NOT_SUPPORTED(nvmlDeviceGetGpuFabricInfoV)
NOT_SUPPORTED(nvmlDeviceGetMaxPcieLinkGeneration)
NOT_SUPPORTED(nvmlDeviceGetNvLinkCapability)
NOT_SUPPORTED(nvmlDeviceGetNvLinkRemotePciInfo_v2)
NOT_SUPPORTED(nvmlDeviceGetNvLinkState)
NOT_SUPPORTED(nvmlDeviceGetNvLinkVersion)
NOT_SUPPORTED(nvmlDeviceGetP2PStatus)
NOT_SUPPORTED(nvmlDeviceGetPciInfo_v3)
NOT_SUPPORTED(nvmlDeviceGetPcieLinkMaxSpeed)
NOT_SUPPORTED(nvmlDeviceGetUUID)

}  // extern "C"
