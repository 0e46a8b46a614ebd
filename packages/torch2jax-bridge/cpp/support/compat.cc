#include "support/compat.h"

#include <stack>
#include <tuple>
#include <utility>

namespace py = pybind11;

namespace bridge {
namespace {

// How PyTorch's `at::impl::SavedTensorDefaultHooksTLS` begins.
struct HooksOfGraphs {
  using Hook = std::pair<void*, void*>;
  std::stack<std::pair<Hook, Hook>> stack;
};

}  // namespace

void Predicate::Find(const py::type& cls, const char* name) {
  method_ = cls.attr(name).cast<py::object>().release().ptr();
  function_ = nullptr;
  if (Py_TYPE(method_) != &PyMethodDescr_Type) return;
  const PyMethodDef* definition = reinterpret_cast<PyMethodDescrObject*>(method_)->d_method;
  if ((definition->ml_flags & METH_NOARGS) != 0) function_ = definition->ml_meth;
}

void VersionCounter::Find(const py::type& tensor_type) {
  exists_ = py::hasattr(tensor_type, "_version");
  getter_ = nullptr;
  if (!exists_) return;
  const py::object found = tensor_type.attr("_version");
  if (Py_TYPE(found.ptr()) == &PyGetSetDescr_Type) {
    getter_ = reinterpret_cast<PyGetSetDescrObject*>(found.ptr())->d_getset;
  }
}

Getter::Getter(py::object callable) : callable_(std::move(callable)) {
  if (!PyCFunction_CheckExact(callable_.ptr())) return;
  if (PyCFunction_GET_FLAGS(callable_.ptr()) != METH_NOARGS) return;
  function_ = PyCFunction_GET_FUNCTION(callable_.ptr());
  self_ = PyCFunction_GET_SELF(callable_.ptr());
}

NativeGetter NativeGetter::From(py::handle address_arguments_mask) {
  using Arguments = std::tuple<std::int64_t, std::int64_t, std::int64_t>;
  using Numbers = std::tuple<std::uintptr_t, Arguments, std::int64_t>;
  const auto [address, arguments, mask] = address_arguments_mask.cast<Numbers>();
  NativeGetter getter;
  getter.function_ =
      reinterpret_cast<std::int64_t (*)(std::int64_t, std::int64_t, std::int64_t)>(address);
  std::tie(getter.first_, getter.second_, getter.third_) = arguments;
  getter.mask_ = mask;
  return getter;
}

std::int64_t ByteAt(std::int64_t address) {
  return *reinterpret_cast<const unsigned char*>(address);
}

std::int64_t HasHooksOfGraphs(std::int64_t get_tls_state) {
  const auto get = reinterpret_cast<const HooksOfGraphs& (*)()>(get_tls_state);
  return get().stack.empty() ? 0 : 1;
}

}  // namespace bridge
