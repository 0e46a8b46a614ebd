#include "cuda/release.h"

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "support/gil.h"

namespace bridge::cuda {
namespace {

// For its lifetime a device's context is current on this thread, and a capture elsewhere does not
// forbid calls of the driver.
class DriverScope {
 public:
  DriverScope(const Driver& driver, Context context) : driver_(driver) {
    driver_.push_context(context);
    driver_.exchange_capture_mode(&mode_);
  }
  ~DriverScope() {
    driver_.exchange_capture_mode(&mode_);
    Context popped;
    driver_.pop_context(&popped);
  }
  DriverScope(const DriverScope&) = delete;
  DriverScope& operator=(const DriverScope&) = delete;

 private:
  const Driver& driver_;
  int mode_ = kRelaxed;
};

class Releaser {
 public:
  Releaser(const Driver& driver, int device) : driver_(driver) {
    driver_.retain_context(&context_, device);
    std::thread([this] { Run(); }).detach();
  }

  void Defer(const std::vector<Stream>& streams, std::function<void()> release) {
    const DriverScope scope(driver_, context_);
    std::lock_guard<std::mutex> lock(mutex_);
    Waiting waiting;
    for (Stream stream : streams) Record(stream, waiting.events);
    waiting.release = std::move(release);
    queue_.push_back(std::move(waiting));
    changed_.notify_one();
  }

 private:
  struct Waiting {
    std::vector<Event> events;
    std::function<void()> release;
  };

  // Records an event, one that has served before if there is one. Where the driver refuses, the
  // context is lost, and nothing reads the memory any more.
  void Record(Stream stream, std::vector<Event>& events) {
    int status = kNotCapturing;
    if (driver_.is_capturing(stream, &status) != kSuccess || status != kNotCapturing) return;
    Event event = nullptr;
    if (!spare_.empty()) {
      event = spare_.back();
      spare_.pop_back();
    } else if (driver_.create_event(&event, kBlockingWithoutTime) != kSuccess) {
      return;
    }
    if (driver_.record_event(event, stream) == kSuccess) {
      events.push_back(event);
    } else {
      spare_.push_back(event);
    }
  }

  void Run() {
    const DriverScope scope(driver_, context_);
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return !queue_.empty(); });
      const Waiting waiting = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      for (Event event : waiting.events) driver_.wait_for_event(event);
      {
        const InFlight call;  // at exit JAX may be gone
        if (call.ok()) waiting.release();
      }
      lock.lock();
      spare_.insert(spare_.end(), waiting.events.begin(), waiting.events.end());
    }
  }

  const Driver& driver_;
  Context context_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Waiting> queue_;
  std::vector<Event> spare_;
};

// Leaked on purpose, like the threads: tensors may die after the static destructors have run.
Releaser& ReleaserOf(const Driver& driver, int device) {
  static auto* mutex = new std::mutex;
  static auto* releasers = new std::map<int, Releaser*>;
  std::lock_guard<std::mutex> lock(*mutex);
  Releaser*& found = (*releasers)[device];
  if (found == nullptr) found = new Releaser(driver, device);
  return *found;
}

}  // namespace

void ReleaseAfter(int device, const std::vector<Stream>& streams, std::function<void()> release) {
  if (IsForked()) return;  // the memory is the parent's
  const Driver* driver = GetDriver();
  if (driver == nullptr) return release();
  ReleaserOf(*driver, device).Defer(streams, std::move(release));
}

}  // namespace bridge::cuda
