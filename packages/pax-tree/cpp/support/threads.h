// Locks of the free-threaded interpreter; with a global interpreter lock they are empty.
#pragma once

#include <Python.h>

#include <atomic>

namespace pax_tree {

#ifdef Py_GIL_DISABLED

constexpr bool kFreeThreaded = true;

// Held for a few instructions that run no Python code. Waiting for it gives up critical sections.
class Mutex {
 public:
  void lock() { PyMutex_Lock(&mutex_); }
  void unlock() { PyMutex_Unlock(&mutex_); }

 private:
  PyMutex mutex_ = {};
};

// Keeps other threads from changing an object; given up while Python code of another object runs.
class CriticalSection {
 public:
  explicit CriticalSection(PyObject* object) { PyCriticalSection_Begin(&section_, object); }
  CriticalSection(const CriticalSection&) = delete;
  ~CriticalSection() { PyCriticalSection_End(&section_); }

 private:
  PyCriticalSection section_;
};

constexpr auto kPublish = std::memory_order_release;
constexpr auto kObserve = std::memory_order_acquire;

#else

constexpr bool kFreeThreaded = false;

struct Mutex {
  void lock() {}
  void unlock() {}
};

struct CriticalSection {
  explicit CriticalSection(PyObject*) {}
  ~CriticalSection() {}
};

constexpr auto kPublish = std::memory_order_relaxed;
constexpr auto kObserve = std::memory_order_relaxed;

#endif

class Lock {
 public:
  explicit Lock(Mutex* mutex) : mutex_(mutex) { mutex_->lock(); }
  Lock(const Lock&) = delete;
  ~Lock() { mutex_->unlock(); }

 private:
  Mutex* mutex_;
};

}  // namespace pax_tree
