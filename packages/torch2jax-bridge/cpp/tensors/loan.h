// What a call lends to PyTorch: memory of XLA's, until the last tensor over it is gone.

#ifndef TORCH2JAX_BRIDGE_TENSORS_LOAN_H_
#define TORCH2JAX_BRIDGE_TENSORS_LOAN_H_

#include <pybind11/pybind11.h>

#include <atomic>
#include <utility>
#include <vector>

#include "tensors/dlpack_abi.h"

namespace bridge {

// Counts the storages that refer to XLA's memory for one call. They may outlive the call, and end
// on any thread.
class Loan {
 public:
  // Owns the call's own share. Made and destroyed with the GIL held: one that nothing refers to any
  // more is kept for the next call.
  class Owner {
   public:
    Owner() : loan_(spare != nullptr ? std::exchange(spare, nullptr) : new Loan) {}
    ~Owner() {
      if (spare == nullptr && outstanding() == 0) {
        spare = loan_;
      } else {
        loan_->Return();
      }
    }
    Owner(const Owner&) = delete;
    Owner& operator=(const Owner&) = delete;
    Loan* get() const { return loan_; }
    // How many of the storages are still alive.
    int outstanding() const { return loan_->shares_.load() - 1; }

   private:
    static inline Loan* spare = nullptr;
    Loan* loan_;
  };

  void Take() { shares_.fetch_add(1); }
  void Return() {
    if (shares_.fetch_sub(1) == 1) delete this;
  }

 private:
  std::atomic<int> shares_{1};
};

// Drops the tensors of a call. Those that the function has kept get memory of their own; where that
// cannot be done, because it kept only a storage or because they are on a GPU, raises ValueError.
void Reclaim(std::vector<pybind11::object>& tensors, const Loan::Owner& loan,
             dlpack::Device device);

}  // namespace bridge

#endif  // TORCH2JAX_BRIDGE_TENSORS_LOAN_H_
