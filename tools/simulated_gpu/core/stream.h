// Streams are threads with queues; events are places in them.

#ifndef SIMULATED_GPU_CORE_STREAM_H_
#define SIMULATED_GPU_CORE_STREAM_H_

#include <cuda.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace sim {

using Operation = std::function<void()>;

// Does one operation after the other, each after a random delay. Lives for ever, so that a use
// after its destruction can be reported.
class Stream {
 public:
  Stream(int device, int priority);

  void Enqueue(const char* what, Operation operation);
  void Drain();
  bool IsIdle();
  void Destroy();

  const int device;
  const int priority;
  const int number;
  bool destroyed = false;

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Operation> queue_;
  bool is_busy_ = false;
};

Stream* NewStream(int device, int priority);

// The stream of a handle, which may be one of the default stream's.
Stream* StreamOf(CUstream handle);
CUstream HandleOf(Stream* stream);

// Waits for all streams of a device.
void DrainDevice(int device);

// What an event was recorded for the last time: passed when its stream has come there.
class Place {
 public:
  void Pass();
  void Wait();
  bool IsPassed();
  double PassedAt();  // in milliseconds

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_passed_ = false;
  double passed_at_ = 0;
};

struct Event {
  int device;
  std::shared_ptr<Place> place;  // null if it was never recorded
};

}  // namespace sim

#endif  // SIMULATED_GPU_CORE_STREAM_H_
