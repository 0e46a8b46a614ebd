#include "reclaim.h"

namespace py = pybind11;

namespace bridge {
namespace {

PyObject* rescue_function = nullptr;  // owned for the life of the process

void CheckNotKept(const std::vector<py::object>& tensors, const CallOptions& options) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].ref_count() == 1) continue;
    throw py::value_error("the function kept " + ArgumentLabel(options, i) +
                          ", or a view of it, beyond the call; clone what is to be kept");
  }
}

}  // namespace

void UseRescue(py::object function) { rescue_function = function.release().ptr(); }

void Reclaim(std::vector<py::object>& tensors, const Loan::Owner& loan, dlpack::Device device,
             const CallOptions& options) {
  if (options.strict) CheckNotKept(tensors, options);
  if (device.device_type == dlpack::kCpu) {
    const py::handle rescue = rescue_function;
    for (const py::object& tensor : tensors) {
      if (tensor.ref_count() > 1) rescue(tensor);
    }
  }
  tensors.clear();
  if (loan.outstanding() == 0) return;
  PyGC_Collect();
  if (loan.outstanding() == 0) return;
  throw py::value_error(
      "the function kept a tensor, or a view of one, that lies in memory of JAX's, which is used "
      "again after the call; clone what is to be kept");
}

}  // namespace bridge
