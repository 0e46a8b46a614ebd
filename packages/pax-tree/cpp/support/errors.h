// Setting an error and returning what says so.
#pragma once

#include <Python.h>

#include <type_traits>

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

}  // namespace pax_tree
