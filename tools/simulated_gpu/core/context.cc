#include "core/context.h"

#include <vector>

#include "core/settings.h"

namespace sim {
namespace {

char contexts[kMostDevices];  // their addresses are the handles

struct OfThread {
  CUcontext current = nullptr;
  int chosen = 0;
  std::vector<CUcontext> below;  // what was current before each push
};

thread_local OfThread here;

}  // namespace

CUcontext ContextOf(int device) { return reinterpret_cast<CUcontext>(&contexts[device]); }

int DeviceOf(CUcontext context) {
  return static_cast<int>(reinterpret_cast<char*>(context) - contexts);
}

CUcontext CurrentContext() { return here.current; }

void SetCurrentContext(CUcontext context) { here.current = context; }

void PushContext(CUcontext context) {
  here.below.push_back(here.current);
  here.current = context;
}

CUcontext PopContext() {
  const CUcontext popped = here.current;
  here.current = here.below.empty() ? nullptr : here.below.back();
  if (!here.below.empty()) here.below.pop_back();
  return popped;
}

int CurrentDevice() { return here.current == nullptr ? here.chosen : DeviceOf(here.current); }

void ChooseDevice(int device) {
  here.chosen = device;
  here.current = ContextOf(device);
}

}  // namespace sim
