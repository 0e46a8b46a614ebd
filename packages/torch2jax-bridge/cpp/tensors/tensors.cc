#include "tensors/tensors.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "support/hooks.h"
#include "tensors/dtypes.h"
#include "tensors/native.h"

namespace ffi = xla::ffi;
namespace py = pybind11;

namespace bridge {
namespace {

const dlpack::ExchangeTable* table = nullptr;
PyObject* tensor_class = nullptr;  // owned for the life of the process

// Below this size, releasing and taking the GIL costs more than the copy.
constexpr size_t kCopyWithoutGil = size_t{1} << 18;

const dlpack::ExchangeTable* FindTable(const py::capsule& capsule) {
  auto* header = capsule.get_pointer<dlpack::ExchangeHeader>();
  while (header != nullptr && header->version.major != dlpack::kMajorVersion) {
    header = header->previous;
  }
  return reinterpret_cast<const dlpack::ExchangeTable*>(header);
}

// A ManagedTensor followed by its shape and strides in one allocation.
dlpack::ManagedTensor* NewManaged(size_t ndim, Loan* loan) {
  void* memory = ::operator new(sizeof(dlpack::ManagedTensor) + 2 * ndim * sizeof(int64_t));
  auto* managed = new (memory) dlpack::ManagedTensor{};
  managed->version = {dlpack::kMajorVersion, 0};
  managed->manager_ctx = loan;
  if (loan != nullptr) loan->Take();
  managed->deleter = [](dlpack::ManagedTensor* self) {
    if (self->manager_ctx != nullptr) static_cast<Loan*>(self->manager_ctx)->Return();
    ::operator delete(self);
  };
  managed->tensor.ndim = static_cast<int32_t>(ndim);
  managed->tensor.shape = reinterpret_cast<int64_t*>(managed + 1);
  managed->tensor.strides = managed->tensor.shape + ndim;
  return managed;
}

void FillRowMajor(xla::ffi::AnyBuffer::Dimensions dims, dlpack::Tensor& tensor) {
  int64_t stride = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    tensor.shape[i] = dims[i];
    tensor.strides[i] = stride;
    stride *= std::max<int64_t>(dims[i], 1);
  }
}

bool IsRowMajor(const dlpack::Tensor& tensor) {
  int64_t stride = 1;
  for (int32_t i = tensor.ndim; i-- > 0;) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != stride) return false;
    stride *= tensor.shape[i];
  }
  return true;
}

template <typename Begin>
std::string ShapeText(Begin begin, size_t size) {
  std::string text = "(";
  for (size_t i = 0; i < size; ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(begin[i]);
  }
  return text + (size == 1 ? ",)" : ")");
}

std::string DeviceText(dlpack::Device device) {
  if (device.device_type == dlpack::kCpu) return "cpu";
  return (device.device_type == dlpack::kCuda ? "cuda:" : "device ") +
         std::to_string(device.device_id);
}

std::string Result(size_t index) { return "Result " + std::to_string(index); }

dlpack::DataType RequireType(const xla::ffi::AnyBuffer& buffer) {
  if (auto type = ToDlpack(buffer.element_type())) return *type;
  throw py::type_error("PyTorch has no dtype for XLA's element type number " +
                       std::to_string(static_cast<int>(buffer.element_type())) +
                       "; convert the array to another dtype before the call.");
}

void CheckShape(const dlpack::Tensor& got, xla::ffi::AnyBuffer::Dimensions want, size_t index) {
  const size_t ndim = static_cast<size_t>(got.ndim);
  if (ndim == want.size() && std::equal(want.begin(), want.end(), got.shape)) return;
  throw py::value_error(Result(index) + " has the shape " + ShapeText(got.shape, ndim) +
                        ", but the shape " + ShapeText(want.begin(), want.size()) +
                        " was inferred or given for it.");
}

bool IsNarrowed(const dlpack::DataType& wide, const dlpack::DataType& narrow) {
  return wide.code == narrow.code && wide.lanes == narrow.lanes && wide.bits == 2 * narrow.bits &&
         narrow.bits >= (wide.code == dlpack::kComplex ? 64 : 32);
}

void CheckType(const dlpack::Tensor& got, dlpack::DataType want, size_t index, bool narrow) {
  if (SameType(got.dtype, want) || (narrow && IsNarrowed(got.dtype, want))) return;
  throw py::type_error(Result(index) + " has the dtype " + TypeName(got.dtype) + ", but " +
                       TypeName(want) + " was inferred or given for it.");
}

// Throws if a tensor cannot be a result whatever is done with it: it is sparse, has no values...
void CheckUsable(py::handle tensor, size_t index) {
  const py::object why = py::handle(hooks.unusable)(tensor);
  if (!why.is_none()) throw py::type_error(Result(index) + " is " + why.cast<std::string>() + ".");
}

void CheckDevice(const dlpack::Tensor& got, dlpack::Device want, size_t index) {
  if (got.device.device_type == want.device_type && got.device.device_id == want.device_id) return;
  throw py::value_error(Result(index) + " is on " + DeviceText(got.device) +
                        ", but the call runs on " + DeviceText(want) +
                        "; move it there inside of the function.");
}

dlpack::Tensor View(py::handle tensor, size_t index) {
  dlpack::Tensor view;
  if (Describe(tensor, &view)) return view;
  const py::error_already_set error;
  CheckUsable(tensor, index);
  throw error;
}

// Whether the values do not stand in memory as they are: PyTorch has tensors of zeros without
// memory (in forward mode), and bits that say "negated" and "conjugated".
bool IsLazy(py::handle tensor, const dlpack::Tensor& view) {
  if (view.data == nullptr) return true;
  const uint8_t code = view.dtype.code;
  if (code == dlpack::kComplex && IsConj(tensor)) return true;
  return (code == dlpack::kComplex || code == dlpack::kFloat || code == dlpack::kBfloat) &&
         IsNeg(tensor);
}

void CopyBytes(void* to, const void* from, size_t size) {
  if (size == 0 || to == from) return;
  if (size < kCopyWithoutGil) {
    std::memcpy(to, from, size);
  } else {
    py::gil_scoped_release release;
    std::memcpy(to, from, size);
  }
}

ffi::AnyBuffer Output(const ffi::RemainingRets& rets, size_t index) {
  return *rets.get<ffi::AnyBuffer>(index).value();
}

void Write(py::handle result, const ffi::AnyBuffer& out, dlpack::Device device, size_t index,
           bool narrow) {
  const dlpack::Tensor view = View(result, index);
  if (view.device.device_type != device.device_type) CheckUsable(result, index);
  const dlpack::DataType type = RequireType(out);
  CheckType(view, type, index, narrow);
  CheckShape(view, out.dimensions(), index);
  CheckDevice(view, device, index);
  const bool as_is = IsRowMajor(view) && SameType(view.dtype, type) && !IsLazy(result, view);
  char* data = static_cast<char*>(view.data) + view.byte_offset;
  if (as_is && data == out.untyped_data()) return;
  if (as_is && device.device_type == dlpack::kCpu) {
    CopyBytes(out.untyped_data(), data, out.size_bytes());
  } else {
    const Loan::Owner loan;
    Borrow(out, device, loan.get()).attr("copy_")(result, py::arg("non_blocking") = true);
  }
}

bool IsPlainTensor(py::handle object) {
  return Py_TYPE(object.ptr()) == reinterpret_cast<PyTypeObject*>(tensor_class);
}

void CheckTensor(py::handle item, size_t index) {
  if (IsPlainTensor(item)) return;
  if (PyObject_IsInstance(item.ptr(), tensor_class) == 1) return CheckUsable(item, index);
  throw py::type_error(Result(index) + " is of type " +
                       py::type::of(item).attr("__name__").cast<std::string>() +
                       ", expected a torch.Tensor.");
}

// The tensors that a function returned.
std::vector<py::object> Items(const py::object& results, size_t count) {
  std::vector<py::object> items;
  if (PyTuple_Check(results.ptr())) {
    items.reserve(static_cast<size_t>(PyTuple_GET_SIZE(results.ptr())));
    for (py::handle item : results) items.push_back(py::reinterpret_borrow<py::object>(item));
  } else {
    items.push_back(results);
  }
  if (items.size() != count) {
    throw py::value_error("The function returned " + std::to_string(items.size()) +
                          " tensors, but its results were inferred or given as " +
                          std::to_string(count) + ".");
  }
  for (size_t i = 0; i < count; ++i) CheckTensor(items[i], i);
  return items;
}

// Whether a result begins in an output buffer other than at the start of its own: writing the
// results one after the other could then overwrite it.
bool LiesElsewhere(const dlpack::Tensor& view, const ffi::RemainingRets& rets, size_t index) {
  const char* data = static_cast<char*>(view.data) + view.byte_offset;
  for (size_t i = 0; i < rets.size(); ++i) {
    const ffi::AnyBuffer out = Output(rets, i);
    const char* begin = static_cast<char*>(out.untyped_data());
    if (data < begin || data >= begin + out.size_bytes()) continue;
    return i != index || data != begin || !IsRowMajor(view);
  }
  return false;
}

// Copies the results that lie in output buffers, but not where they belong.
void MoveAway(std::vector<py::object>& items, const ffi::RemainingRets& rets) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (LiesElsewhere(View(items[i], i), rets, i)) items[i] = items[i].attr("clone")();
  }
}

}  // namespace

void UseTensorType(py::type tensor_type) {
  py::object capsule = py::getattr(tensor_type, "__dlpack_c_exchange_api__", py::none());
  if (!py::isinstance<py::capsule>(capsule)) {
    throw py::import_error(
        "This PyTorch has no DLPack exchange table; PyTorch 2.11 or newer does.");
  }
  const dlpack::ExchangeTable* found = FindTable(capsule);
  if (found == nullptr || found->view == nullptr) {
    throw py::import_error(
        "This PyTorch's DLPack exchange table is not of major version 1; "
        "install a newer torch2jax-bridge.");
  }
  table = found;
  UseTensorMethods(tensor_type, found);
  tensor_class = tensor_type.release().ptr();
}

py::object Borrow(const xla::ffi::AnyBuffer& buffer, dlpack::Device device, Loan* loan) {
  const dlpack::DataType type = RequireType(buffer);
  Loan* share = buffer.size_bytes() > 0 ? loan : nullptr;  // nothing is lent of an empty one
  dlpack::ManagedTensor* managed = NewManaged(buffer.dimensions().size(), share);
  managed->tensor.data = buffer.untyped_data();
  managed->tensor.device = device;
  managed->tensor.dtype = type;
  FillRowMajor(buffer.dimensions(), managed->tensor);
  return Import(managed);
}

bool CurrentStream(dlpack::Device device, void** stream) {
  if (table->current_stream == nullptr) return false;
  const auto type = static_cast<dlpack::DeviceType>(device.device_type);
  return table->current_stream(type, device.device_id, stream) == 0;
}

void WriteAll(const py::object& results, const ffi::RemainingRets& rets, dlpack::Device device,
              const WriteOptions& options) {
  if (rets.size() == 1 && !options.lent_outputs && IsPlainTensor(results)) {
    return Write(results, Output(rets, 0), device, 0, options.narrow);
  }
  std::vector<py::object> items = Items(results, rets.size());
  if (options.lent_outputs) MoveAway(items, rets);
  for (size_t i = 0; i < items.size(); ++i) {
    Write(items[i], Output(rets, i), device, i, options.narrow);
  }
}

}  // namespace bridge
