#include "core/settings.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

namespace sim {
namespace {

int FromEnvironment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

std::atomic<unsigned>& CurrentSeed() {
  static std::atomic<unsigned> seed(FromEnvironment("SIMULATED_GPU_SEED", 0));
  return seed;
}

}  // namespace

int DeviceCount() {
  static const int count = std::clamp(FromEnvironment("SIMULATED_GPU_DEVICES", 1), 1, kMostDevices);
  return count;
}

int MaxDelay() {
  static const int delay = FromEnvironment("SIMULATED_GPU_DELAY_US", 0);
  return delay;
}

int LogLevel() {
  static const int level = FromEnvironment("SIMULATED_GPU_LOG", 0);
  return level;
}

unsigned Seed() { return CurrentSeed().load(); }

void SetSeed(unsigned seed) { CurrentSeed().store(seed); }

}  // namespace sim
