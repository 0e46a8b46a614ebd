#include "tensors/loan.h"

#include "support/hooks.h"

namespace py = pybind11;

namespace bridge {

void Reclaim(std::vector<py::object>& tensors, const Loan::Owner& loan, dlpack::Device device) {
  if (device.device_type == dlpack::kCpu) {
    const py::handle rescue = hooks.rescue;
    for (const py::object& tensor : tensors) {
      if (tensor.ref_count() > 1) rescue(tensor);
    }
  }
  tensors.clear();
  if (loan.outstanding() == 0) return;
  PyGC_Collect();
  if (loan.outstanding() == 0) return;
  throw py::value_error(
      "The function kept a tensor, or a view of one, that lies in memory of JAX's, which is used "
      "again after the call; clone what is to be kept.");
}

}  // namespace bridge
