// Ctrl-C while a PyTorch function runs on the main thread, inside of a program of XLA's.

#ifndef TORCH2JAX_BRIDGE_SUPPORT_INTERRUPTS_H_
#define TORCH2JAX_BRIDGE_SUPPORT_INTERRUPTS_H_

namespace bridge {

// Puts itself before Python's handler of SIGINT, where that is the current one: a first one that
// comes in an `InterruptScope` of the main thread waits until the program has returned to Python.
// An exception in the function would be an error of XLA's, and no KeyboardInterrupt. A second one
// does not wait. Called with the GIL held, as often as one likes.
void WatchInterrupts(unsigned long main_thread);

// A call. What Python's handlers of signals have raised until now waits, too. The GIL is held.
class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

 private:
  bool on_main_thread_;
};

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_SUPPORT_INTERRUPTS_H_
