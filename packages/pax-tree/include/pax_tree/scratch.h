// Memory that one walk leaves for the next one of the same thread.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace pax_tree {

// A walk takes the vector and gives it back empty; a walk within a walk starts with a new one.
template <typename T>
class Scratch {
 public:
  static std::vector<T> Take() { return std::move(Kept()); }
  static void GiveBack(std::vector<T>* vector) {
    if (vector->capacity() > kMaxKept || vector->capacity() <= Kept().capacity()) return;
    vector->clear();
    Kept() = std::move(*vector);
  }

 private:
  static constexpr size_t kMaxKept = (size_t{1} << 20) / sizeof(T);
  static std::vector<T>& Kept() {
    thread_local std::vector<T> kept;
    return kept;
  }
};

}  // namespace pax_tree
