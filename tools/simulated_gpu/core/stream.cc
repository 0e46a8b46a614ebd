#include "core/stream.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "core/context.h"
#include "core/report.h"
#include "core/settings.h"

namespace sim {
namespace {

std::atomic<int> streams_made{0};

// Never freed: their threads run until the process ends.
struct Streams {
  std::mutex mutex;
  std::vector<Stream*> all;
  std::map<int, Stream*> defaults;
};

Streams& GetStreams() {
  static auto* streams = new Streams;
  return *streams;
}

// Begins anew whenever the seed changes.
class Delays {
 public:
  explicit Delays(int number) : number_(number) {}

  void Sleep() {
    const int most = MaxDelay();
    if (most <= 0) return;
    if (const unsigned seed = Seed(); seed != seed_ || !is_seeded_) {
      seed_ = seed;
      is_seeded_ = true;
      random_.seed(seed * 1009 + static_cast<unsigned>(number_));
    }
    const auto wanted = std::uniform_int_distribution<int>(0, most)(random_);
    std::this_thread::sleep_for(std::chrono::microseconds(wanted));
  }

 private:
  const int number_;
  unsigned seed_ = 0;
  bool is_seeded_ = false;
  std::minstd_rand random_;
};

double Now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(time).count();
}

}  // namespace

Stream::Stream(int device, int priority)
    : device(device), priority(priority), number(++streams_made) {
  std::thread([this] { Run(); }).detach();
}

void Stream::Run() {
  Delays delays(number);
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return !queue_.empty(); });
    Operation operation = std::move(queue_.front());
    queue_.pop_front();
    is_busy_ = true;
    lock.unlock();
    delays.Sleep();
    operation();
    operation = nullptr;
    lock.lock();
    is_busy_ = false;
    changed_.notify_all();
  }
}

void Stream::Enqueue(const char* what, Operation operation) {
  Log(3, "stream %d: %s", number, what);
  std::lock_guard<std::mutex> lock(mutex_);
  queue_.push_back(std::move(operation));
  changed_.notify_all();
}

void Stream::Drain() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return queue_.empty() && !is_busy_; });
}

bool Stream::IsIdle() {
  std::lock_guard<std::mutex> lock(mutex_);
  return queue_.empty() && !is_busy_;
}

void Stream::Destroy() {
  Drain();
  destroyed = true;
}

Stream* NewStream(int device, int priority) {
  auto* stream = new Stream(device, priority);
  Streams& streams = GetStreams();
  std::lock_guard<std::mutex> lock(streams.mutex);
  streams.all.push_back(stream);
  Log(2, "stream %d on device %d", stream->number, device);
  return stream;
}

Stream* StreamOf(CUstream handle) {
  // Null and the two handles of CUDA's for it are the default stream of the current device.
  if (reinterpret_cast<std::uintptr_t>(handle) > 2) {
    auto* stream = reinterpret_cast<Stream*>(handle);
    if (stream->destroyed) Misuse("stream %d is used after its destruction", stream->number);
    return stream;
  }
  const int device = CurrentDevice();
  Streams& streams = GetStreams();
  {
    std::lock_guard<std::mutex> lock(streams.mutex);
    const auto found = streams.defaults.find(device);
    if (found != streams.defaults.end()) return found->second;
  }
  Stream* made = NewStream(device, 0);
  std::lock_guard<std::mutex> lock(streams.mutex);
  return streams.defaults.emplace(device, made).first->second;
}

CUstream HandleOf(Stream* stream) { return reinterpret_cast<CUstream>(stream); }

void DrainDevice(int device) {
  std::vector<Stream*> all;
  {
    Streams& streams = GetStreams();
    std::lock_guard<std::mutex> lock(streams.mutex);
    all = streams.all;
  }
  for (Stream* stream : all) {
    if (stream->device == device && !stream->destroyed) stream->Drain();
  }
}

void Place::Pass() {
  std::lock_guard<std::mutex> lock(mutex_);
  is_passed_ = true;
  passed_at_ = Now();
  changed_.notify_all();
}

void Place::Wait() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return is_passed_; });
}

bool Place::IsPassed() {
  std::lock_guard<std::mutex> lock(mutex_);
  return is_passed_;
}

double Place::PassedAt() {
  std::lock_guard<std::mutex> lock(mutex_);
  return passed_at_;
}

}  // namespace sim
