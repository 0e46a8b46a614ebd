#include "support/interrupts.h"

#include <Python.h>

#include <atomic>
#include <csignal>

namespace bridge {
namespace {

std::atomic<bool> in_call{false};  // of the main thread
std::atomic<bool> waiting{false};
unsigned long main_thread = 0;
void (*python_handler)(int) = nullptr;
PyObject* raised = nullptr;  // by a handler of Python's: the exception that waits

bool OnMainThread() {
  thread_local const bool is_main = PyThread_get_thread_ident() == main_thread;
  return main_thread != 0 && is_main;
}

void Handle(int signal) {
  if (in_call.load() && !waiting.exchange(true)) return;
  python_handler(signal);
}

// Keeps what a handler of Python's raises now.
void RunHandlers() {
  if (PyErr_CheckSignals() == 0) return;
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != nullptr) PyException_SetTraceback(value, traceback);
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  Py_XSETREF(raised, value);
  waiting.store(true);
}

// Runs on the main thread as soon as it executes Python code: perhaps that of the next call.
int Deliver(void*) {
  if (in_call.load() || !waiting.exchange(false)) return 0;
  if (raised == nullptr) {
    PyErr_SetInterrupt();
    return 0;
  }
  PyObject* exception = raised;
  raised = nullptr;
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception)), exception);
  Py_DECREF(exception);
  return -1;
}

}  // namespace

#ifdef _WIN32

void WatchInterrupts(unsigned long) {}

#else

void WatchInterrupts(unsigned long thread) {
  main_thread = thread;
  struct sigaction action;
  if (sigaction(SIGINT, nullptr, &action) != 0 || (action.sa_flags & SA_SIGINFO) != 0) return;
  const bool is_python = PyOS_getsig(SIGINT) != SIG_DFL && PyOS_getsig(SIGINT) != SIG_IGN;
  if (action.sa_handler == Handle || !is_python) return;
  python_handler = action.sa_handler;
  action.sa_handler = Handle;
  sigaction(SIGINT, &action, nullptr);
}

#endif

InterruptScope::InterruptScope() : on_main_thread_(OnMainThread() && !in_call.load()) {
  if (!on_main_thread_) return;
  RunHandlers();
  in_call.store(true, std::memory_order_release);  // a signal that comes now may see either
}

InterruptScope::~InterruptScope() {
  if (!on_main_thread_) return;
  in_call.store(false);
  if (waiting.load()) Py_AddPendingCall(Deliver, nullptr);
}

}  // namespace bridge
