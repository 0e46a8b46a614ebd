// What the environment says of the simulated GPUs.

#ifndef SIMULATED_GPU_CORE_SETTINGS_H_
#define SIMULATED_GPU_CORE_SETTINGS_H_

#include <cstddef>

namespace sim {

constexpr int kMostDevices = 16;
constexpr size_t kTotalMemory = size_t{8} << 30;   // what each device claims to have
constexpr size_t kUsableMemory = size_t{6} << 30;  // what may be allocated on each

// SIMULATED_GPU_DEVICES, 1 if it is not set.
int DeviceCount();

// SIMULATED_GPU_DELAY_US: each operation of a stream begins after a random time below this.
int MaxDelay();

// SIMULATED_GPU_LOG: 0 for misuse only, 1 for kernels that do nothing, 2 for memory and streams,
// 3 for each operation.
int LogLevel();

// SIMULATED_GPU_SEED, of the random times, until SetSeed gives another one.
unsigned Seed();
void SetSeed(unsigned seed);

}  // namespace sim

#endif  // SIMULATED_GPU_CORE_SETTINGS_H_
