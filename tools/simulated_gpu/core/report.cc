#include "core/report.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <mutex>

#include "core/settings.h"

namespace sim {
namespace {

struct Skipped {
  std::mutex mutex;
  std::map<std::string, long> kernels;
};

Skipped& GetSkipped() {
  static auto* skipped = new Skipped;
  return *skipped;
}

std::map<std::string, long>& CallsOfThread() {
  static thread_local std::map<std::string, long> calls;
  return calls;
}

std::atomic<long> misuses{0};

void Print(const char* format, va_list arguments) {
  char text[1000];
  std::vsnprintf(text, sizeof text, format, arguments);
  std::fprintf(stderr, "simulated GPU: %s\n", text);
}

}  // namespace

void Log(int level, const char* format, ...) {
  if (level > LogLevel()) return;
  va_list arguments;
  va_start(arguments, format);
  Print(format, arguments);
  va_end(arguments);
}

void Misuse(const char* format, ...) {
  ++misuses;
  va_list arguments;
  va_start(arguments, format);
  Print(format, arguments);
  va_end(arguments);
}

void CountCall(const char* name) { ++CallsOfThread()[name]; }

void CountSkipped(const std::string& kernel) {
  Skipped& skipped = GetSkipped();
  std::lock_guard<std::mutex> lock(skipped.mutex);
  if (++skipped.kernels[kernel] == 1) Log(1, "this kernel does nothing: %s", kernel.c_str());
}

}  // namespace sim

long simulated_gpu_calls(const char* name) { return sim::CallsOfThread()[name]; }

long simulated_gpu_skipped(const char* part) {
  sim::Skipped& skipped = sim::GetSkipped();
  std::lock_guard<std::mutex> lock(skipped.mutex);
  long sum = 0;
  for (const auto& [kernel, count] : skipped.kernels) {
    if (kernel.find(part) != std::string::npos) sum += count;
  }
  return sum;
}

long simulated_gpu_misuses() { return sim::misuses.load(); }

void simulated_gpu_set_seed(unsigned seed) { sim::SetSeed(seed); }
