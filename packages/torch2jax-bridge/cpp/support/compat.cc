#include "support/compat.h"

#include <memory>
#include <stack>
#include <tuple>
#include <utility>
#include <vector>

#ifndef _WIN32
#include <dlfcn.h>
#endif

namespace py = pybind11;

namespace bridge {
namespace {

// How PyTorch's `at::impl::SavedTensorDefaultHooksTLS` begins.
struct HooksOfGraphs {
  using Hook = std::pair<void*, void*>;
  std::stack<std::pair<Hook, Hook>> stack;
};

// How PyTorch's `at::impl::PythonTorchFunctionTLS` begins.
struct FunctionModes {
  char disabled;
  std::vector<std::shared_ptr<void>> stack;
};

NativeModes native_modes;

#ifdef _WIN32
const std::uint64_t* FindKeys() { return nullptr; }
#else
// The variable of this thread.
const std::uint64_t* FindKeys() {
  auto* library = reinterpret_cast<void*>(native_modes.library);
  return static_cast<const std::uint64_t*>(
      dlsym(library, "_ZN3c104impl26raw_local_dispatch_key_setE"));
}
#endif

// Places of this thread's own, the same as long as it lives.
struct Places {
  const std::uint64_t* keys = FindKeys();
  const HooksOfGraphs* hooks = reinterpret_cast<const HooksOfGraphs* (*)()>(native_modes.hooks)();
  const FunctionModes* functions =
      reinterpret_cast<const FunctionModes* (*)()>(native_modes.functions)();
};

const Places& PlacesOfThread() {
  thread_local const Places places;
  return places;
}

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

void UseNativeModes(const NativeModes& modes) { native_modes = modes; }

std::pair<std::uint64_t, std::uint64_t> KeysOfThread() {
  const std::uint64_t* keys = PlacesOfThread().keys;
  return {keys[0], keys[1]};
}

std::int64_t IsInModes(std::int64_t included, std::int64_t excluded) {
  const Places& here = PlacesOfThread();
  const std::uint64_t keys = (here.keys[0] & static_cast<std::uint64_t>(included)) |
                             (here.keys[1] & static_cast<std::uint64_t>(excluded));
  return (keys != 0 || !here.functions->stack.empty() || !here.hooks->stack.empty()) ? 1 : 0;
}

}  // namespace bridge
