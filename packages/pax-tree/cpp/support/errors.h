// Setting an error and returning what says so.
#pragma once

#include <Python.h>

#include <type_traits>
#include <utility>

namespace pax_tree {

// What a function returns when an error is set: false, -1 or null.
struct Failed {
  template <typename T>
  operator T() const {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      return static_cast<T>(-1);
    } else {
      return T();
    }
  }
};

// Sets an error with a text as of PyErr_Format.
template <typename... Values>
Failed Raise(PyObject* type, const char* format, Values... values) {
  PyErr_Format(type, format, values...);
  return {};
}

inline Failed RaiseNoMemory() {
  PyErr_NoMemory();
  return {};
}

// The pending error, which is put aside.
class HeldError {
 public:
  HeldError() { PyErr_Fetch(&type_, &value_, &traceback_); }
  HeldError(const HeldError&) = delete;
  ~HeldError() {
    Py_XDECREF(type_);
    Py_XDECREF(value_);
    Py_XDECREF(traceback_);
  }
  // Makes it the pending one again.
  void Restore() { PyErr_Restore(Take(&type_), Take(&value_), Take(&traceback_)); }
  // Makes it the cause of the error that is pending now.
  void BecomeCause() {
    HeldError later;  // before anything that must not find an error pending
    PyErr_NormalizeException(&type_, &value_, &traceback_);
    if (traceback_ != nullptr) PyException_SetTraceback(value_, traceback_);
    PyErr_NormalizeException(&later.type_, &later.value_, &later.traceback_);
    PyException_SetContext(later.value_, Py_NewRef(value_));  // both take the reference
    PyException_SetCause(later.value_, Take(&value_));
    later.Restore();
  }
  bool HasTraceback() const { return traceback_ != nullptr; }

 private:
  static PyObject* Take(PyObject** slot) { return std::exchange(*slot, nullptr); }

  PyObject *type_, *value_, *traceback_;
};

}  // namespace pax_tree
