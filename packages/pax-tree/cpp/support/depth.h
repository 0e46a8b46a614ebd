// Guards recursions against the interpreter's limit and the end of the C stack.
#pragma once

#include <Python.h>

#include "support/compat.h"

namespace pax_tree {

// How deep a recursion of one thread is.
struct Depth {
  int levels = 0;
  PyThreadState* thread = PyThreadState_Get();
};

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
