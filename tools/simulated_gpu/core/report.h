// What tests want to know: what was called, which kernels did nothing, and what was misused.

#ifndef SIMULATED_GPU_CORE_REPORT_H_
#define SIMULATED_GPU_CORE_REPORT_H_

#include <string>

namespace sim {

// Prints a line if the level is asked for.
void Log(int level, const char* format, ...) __attribute__((format(printf, 2, 3)));

// Counts and prints a use that a real driver punishes, perhaps later and elsewhere.
void Misuse(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Counts a call of this thread.
void CountCall(const char* name);

// Counts a kernel that is not emulated.
void CountSkipped(const std::string& kernel);

}  // namespace sim

// For ctypes. Calls are those of the calling thread; kernels those whose name has a part.
extern "C" long simulated_gpu_calls(const char* name);
extern "C" long simulated_gpu_skipped(const char* part);
extern "C" long simulated_gpu_misuses();
extern "C" void simulated_gpu_set_seed(unsigned seed);

#endif  // SIMULATED_GPU_CORE_REPORT_H_
