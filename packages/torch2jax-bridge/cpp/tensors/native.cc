#include "tensors/native.h"

#include <functional>

#include "support/compat.h"

namespace py = pybind11;

namespace bridge {
namespace {

struct Functions {
  bool (*is_conj)(const void* tensor) = nullptr;
  bool (*is_neg)(const void* tensor) = nullptr;
  std::int64_t (*version)(const void* tensor) = nullptr;
  void (*view)(const void* tensor, dlpack::Tensor* out) = nullptr;
};

// An `at::Tensor`, which is returned and moved as a class with a destructor. A moved one is empty.
struct Tensor {
  Tensor() = default;
  Tensor(Tensor&& other) noexcept : implementation(other.implementation) {}
  ~Tensor() {}
  void* implementation = nullptr;
};

struct ImportFunctions {
  Tensor (*from_dlpack)(dlpack::ManagedTensor* managed,
                        std::function<void(void*)> deleter) = nullptr;
  PyObject* (*wrap)(Tensor&& tensor) = nullptr;
};

Functions native;
ImportFunctions native_import;
Predicate is_conj;
Predicate is_neg;
VersionCounter version_counter;
const dlpack::ExchangeTable* table = nullptr;

// Python's tensors begin with PyTorch's.
const void* TensorIn(py::handle tensor) { return tensor.ptr() + 1; }

}  // namespace

void UseTensorMethods(const py::type& tensor_type, const dlpack::ExchangeTable* found) {
  version_counter.Find(tensor_type);
  is_conj.Find(tensor_type, "is_conj");
  is_neg.Find(tensor_type, "is_neg");
  table = found;
}

void UseNativeTensors(std::uintptr_t is_conj, std::uintptr_t is_neg, std::uintptr_t version,
                      std::uintptr_t view) {
  native.is_conj = reinterpret_cast<bool (*)(const void*)>(is_conj);
  native.is_neg = reinterpret_cast<bool (*)(const void*)>(is_neg);
  native.version = reinterpret_cast<std::int64_t (*)(const void*)>(version);
  native.view = reinterpret_cast<void (*)(const void*, dlpack::Tensor*)>(view);
}

bool IsConj(py::handle tensor) {
  return native.is_conj != nullptr ? native.is_conj(TensorIn(tensor)) : is_conj(tensor);
}

bool IsNeg(py::handle tensor) {
  return native.is_neg != nullptr ? native.is_neg(TensorIn(tensor)) : is_neg(tensor);
}

// What throws in C++ says why in Python's way.
long Version(py::handle tensor) {
  if (native.version != nullptr) {
    try {
      return static_cast<long>(native.version(TensorIn(tensor)));
    } catch (...) {
    }
  }
  return version_counter.Read(tensor);
}

bool Describe(py::handle tensor, dlpack::Tensor* out) {
  if (native.view != nullptr) {
    try {
      native.view(TensorIn(tensor), out);
      return true;
    } catch (...) {
      PyErr_Clear();
    }
  }
  return table->view(tensor.ptr(), out) == 0;
}

void UseNativeImport(std::uintptr_t from_dlpack, std::uintptr_t wrap) {
  native_import.from_dlpack = reinterpret_cast<decltype(native_import.from_dlpack)>(from_dlpack);
  native_import.wrap = reinterpret_cast<decltype(native_import.wrap)>(wrap);
}

py::object Import(dlpack::ManagedTensor* managed) {
  if (native_import.wrap != nullptr) {
    return Checked(native_import.wrap(native_import.from_dlpack(managed, nullptr)));
  }
  void* tensor = nullptr;
  if (table->import_managed(managed, &tensor) != 0) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(static_cast<PyObject*>(tensor));
}

}  // namespace bridge
