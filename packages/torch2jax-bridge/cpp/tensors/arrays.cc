#include "tensors/arrays.h"

#include <cstring>
#include <functional>
#include <vector>

#include "cuda/release.h"
#include "tensors/dlpack_abi.h"
#include "tensors/native.h"
#include "tensors/tensors.h"

namespace py = pybind11;

namespace bridge {
namespace {

// What an array exports: a description, and how to release it.
struct Exported {
  dlpack::Tensor tensor;
  std::function<void()> release;
};

template <typename Managed>
Exported Consume(const py::capsule& capsule, const char* name, const char* used) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), name));
  if (managed == nullptr) throw py::error_already_set();
  PyCapsule_SetName(capsule.ptr(), used);
  return {managed->tensor, [managed] {
            if (managed->deleter != nullptr) managed->deleter(managed);
          }};
}

Exported Consume(const py::capsule& capsule) {
  if (std::strcmp(capsule.name(), "dltensor_versioned") == 0) {
    return Consume<dlpack::ManagedTensor>(capsule, "dltensor_versioned", "used_dltensor_versioned");
  }
  return Consume<dlpack::OldManagedTensor>(capsule, "dltensor", "used_dltensor");
}

struct BorrowedArray {
  dlpack::ManagedTensor managed;
  std::function<void()> release;
  cuda::Stream stream;
};

// Called when the last tensor is gone, on any thread, with or without the GIL.
void Return(dlpack::ManagedTensor* managed) {
  auto* borrowed = static_cast<BorrowedArray*>(managed->manager_ctx);
  const dlpack::Device device = managed->tensor.device;
  std::vector<cuda::Stream> streams{borrowed->stream};
  cuda::Stream now = nullptr;
  if (CurrentStream(device, &now) && now != borrowed->stream) streams.push_back(now);
  cuda::ReleaseAfter(device.device_id, streams, std::move(borrowed->release));
  delete borrowed;
}

}  // namespace

py::object BorrowArray(py::capsule exported, std::uintptr_t stream) {
  Exported consumed = Consume(exported);
  auto* borrowed = new BorrowedArray{};
  borrowed->release = std::move(consumed.release);
  borrowed->stream = reinterpret_cast<cuda::Stream>(stream);
  borrowed->managed.version = {dlpack::kMajorVersion, 0};
  borrowed->managed.manager_ctx = borrowed;
  borrowed->managed.deleter = Return;
  borrowed->managed.tensor = consumed.tensor;
  return Import(&borrowed->managed);
}

}  // namespace bridge
