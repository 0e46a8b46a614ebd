// Guards recursions against the interpreter's limit and the end of the C stack.
#pragma once

#include <Python.h>

namespace pax_tree {

// How deep a recursion of one thread is.
struct Depth {
  int levels = 0;
  PyThreadState* thread = PyThreadState_Get();
};

// Takes one level of the interpreter's recursion limit. False with RecursionError set.
inline bool EnterLevel(PyThreadState* thread) {
#if defined(_WIN32) || defined(PYPY_VERSION) || PY_VERSION_HEX >= 0x030E0000
  (void)thread;
#else
#if PY_VERSION_HEX >= 0x030C0000
  int* remaining = &thread->c_recursion_remaining;
#else
  int* remaining = &thread->recursion_remaining;
#endif
  if (*remaining > 0) {
    --*remaining;
    return true;
  }
#endif
  return Py_EnterRecursiveCall(" while walking a tree") == 0;
}

// Gives the level back.
inline void LeaveLevel(PyThreadState* thread) {
#if defined(_WIN32) || defined(PYPY_VERSION) || PY_VERSION_HEX >= 0x030E0000
  (void)thread;
  Py_LeaveRecursiveCall();
#elif PY_VERSION_HEX >= 0x030C0000
  ++thread->c_recursion_remaining;
#else
  ++thread->recursion_remaining;
#endif
}

class DepthGuard {
 public:
  explicit DepthGuard(Depth* depth) : depth_(depth), entered_(EnterLevel(depth->thread)) {
    if (++depth_->levels > kMaxDepth && entered_) {
      PyErr_SetString(PyExc_RecursionError, "The tree is deeper than 5000 levels.");
      too_deep_ = true;
    }
  }
  DepthGuard(const DepthGuard&) = delete;
  ~DepthGuard() {
    if (entered_) LeaveLevel(depth_->thread);
    --depth_->levels;
  }
  explicit operator bool() const { return entered_ && !too_deep_; }

 private:
  static constexpr int kMaxDepth = 5000;
  Depth* depth_;
  bool entered_;
  bool too_deep_ = false;
};

}  // namespace pax_tree
