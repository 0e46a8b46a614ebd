#include "support/gil.h"

#include <atomic>
#include <chrono>
#include <thread>

#ifndef _WIN32
#include <pthread.h>
#endif

namespace bridge {
namespace {

std::atomic<int64_t> in_flight{0};
std::atomic<bool> closing{false};
std::atomic<bool> forked{false};

#ifndef _WIN32
const int kWatchingForks = pthread_atfork(nullptr, nullptr, [] {
  forked.store(true);
  in_flight.store(0);  // the threads of those calls are not here
});
#endif

}  // namespace

bool IsForked() { return forked.load(); }

// Counting before reading the flag, and setting the flag before reading the count, leaves no gap
// in which a call could enter unseen.
InFlight::InFlight() {
  in_flight.fetch_add(1);
  ok_ = !closing.load();
}

InFlight::~InFlight() { in_flight.fetch_sub(1); }

bool Shutdown(double seconds) {
  closing.store(true);
  pybind11::gil_scoped_release release;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (in_flight.load() > 0) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return true;
}

}  // namespace bridge
