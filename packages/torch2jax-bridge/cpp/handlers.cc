#include "handlers.h"

#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <vector>

#include "errors.h"
#include "gil.h"
#include "registry.h"
#include "tensors.h"

namespace ffi = xla::ffi;
namespace py = pybind11;

namespace bridge {
namespace {

PyObject* stream_scope = nullptr;  // torch2jax_bridge._stream.stream_scope

std::vector<py::object> BorrowAll(const ffi::RemainingArgs& args, dlpack::Device device) {
  std::vector<py::object> tensors;
  tensors.reserve(args.size());
  for (size_t i = 0; i < args.size(); ++i) {
    tensors.push_back(Borrow(args.get<ffi::AnyBuffer>(i).value(), device));
  }
  return tensors;
}

py::object Call(PyObject* callable, const std::vector<py::object>& tensors) {
  std::vector<PyObject*> pointers;
  pointers.reserve(tensors.size());
  for (const py::object& tensor : tensors) pointers.push_back(tensor.ptr());
  PyObject* result = PyObject_Vectorcall(callable, pointers.data(), pointers.size(), nullptr);
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

// The first version of a borrowed tensor is 0; every operation that writes into it counts one up.
void CheckUnchanged(const std::vector<py::object>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].attr("_version").cast<int64_t>() == 0) continue;
    throw py::value_error("the function changed its array argument number " + std::to_string(i) +
                          " in place; arrays of JAX may not be written to: clone it first");
  }
}

void WriteAll(const py::object& results, const ffi::RemainingRets& rets, dlpack::Device device) {
  if (!PyTuple_Check(results.ptr())) throw py::type_error("the wrapped call must return a tuple");
  const auto count = static_cast<size_t>(PyTuple_GET_SIZE(results.ptr()));
  if (count != rets.size()) {
    throw py::value_error("the function returned " + std::to_string(count) +
                          " tensors, but its results were inferred or given as " +
                          std::to_string(rets.size()));
  }
  for (size_t i = 0; i < count; ++i) {
    Write(PyTuple_GET_ITEM(results.ptr(), i), *rets.get<ffi::AnyBuffer>(i).value(), device, i);
  }
}

void CallAndWrite(PyObject* callable, const ffi::RemainingArgs& args,
                  const ffi::RemainingRets& rets, dlpack::Device device) {
  const std::vector<py::object> inputs = BorrowAll(args, device);
  const py::object results = Call(callable, inputs);
  CheckUnchanged(inputs);
  WriteAll(results, rets, device);
}

// PyTorch's current stream is XLA's for the lifetime of this object.
class StreamScope {
 public:
  StreamScope(void* stream, int32_t ordinal)
      : scope_(py::reinterpret_borrow<py::object>(stream_scope)(
            reinterpret_cast<std::uintptr_t>(stream), ordinal)) {
    scope_.attr("__enter__")();
  }
  void Exit() { scope_.attr("__exit__")(py::none(), py::none(), py::none()); }

 private:
  py::object scope_;
};

void CallOnStream(PyObject* callable, const ffi::RemainingArgs& args,
                  const ffi::RemainingRets& rets, void* stream, int32_t ordinal) {
  StreamScope scope(stream, ordinal);
  try {
    CallAndWrite(callable, args, rets, {dlpack::kCuda, ordinal});
  } catch (...) {
    scope.Exit();
    throw;
  }
  scope.Exit();
}

// Runs `body` with the GIL and turns whatever it throws into an error of XLA's.
template <typename Body>
ffi::Error Guarded(Body body) {
  InFlight call;
  if (!call.ok()) return ffi::Error(ffi::ErrorCode::kCancelled, "the interpreter is shutting down");
  py::gil_scoped_acquire gil;
  DropReleased();
  try {
    body();
    return ffi::Error::Success();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (py::builtin_exception& error) {
    error.set_error();
  } catch (std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return ffi::Error::Internal("a PyTorch function called from JAX failed: " + TakePythonError());
}

ffi::ErrorOr<std::unique_ptr<ProgramState>> Instantiate(int64_t handle) {
  std::shared_ptr<Callable> callable = FindCallable(handle);
  if (callable == nullptr) {
    return ffi::Unexpected(ffi::Error::InvalidArgument(
        "this program calls a PyTorch function of another process or one that is gone; "
        "trace and compile it again"));
  }
  return std::make_unique<ProgramState>(ProgramState{std::move(callable)});
}

ffi::Error ExecuteCpu(ProgramState* state, int64_t, ffi::RemainingArgs args,
                      ffi::RemainingRets rets) {
  return Guarded([&] { CallAndWrite(state->callable->get(), args, rets, {dlpack::kCpu, 0}); });
}

ffi::Error ExecuteCuda(ProgramState* state, void* stream, int32_t ordinal, int64_t,
                       ffi::RemainingArgs args, ffi::RemainingRets rets) {
  return Guarded([&] { CallOnStream(state->callable->get(), args, rets, stream, ordinal); });
}

XLA_FFI_DEFINE_HANDLER(kInstantiate, Instantiate,
                       ffi::Ffi::BindInstantiate().Attr<int64_t>("handle"));

XLA_FFI_DEFINE_HANDLER(kExecuteCpu, ExecuteCpu,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::State<ProgramState>>()
                           .Attr<int64_t>("handle")
                           .RemainingArgs()
                           .RemainingRets());

XLA_FFI_DEFINE_HANDLER(kExecuteCuda, ExecuteCuda,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::State<ProgramState>>()
                           .Ctx<ffi::PlatformStream<void*>>()
                           .Ctx<ffi::DeviceOrdinal>()
                           .Attr<int64_t>("handle")
                           .RemainingArgs()
                           .RemainingRets());

py::dict Target(XLA_FFI_Handler* execute) {
  py::dict stages;
  stages["instantiate"] = py::capsule(reinterpret_cast<void*>(kInstantiate));
  stages["execute"] = py::capsule(reinterpret_cast<void*>(execute));
  return stages;
}

}  // namespace

void UseStreamScope(py::function scope) { stream_scope = scope.release().ptr(); }

py::dict Targets() {
  py::dict targets;
  targets["cpu"] = Target(kExecuteCpu);
  targets["CUDA"] = Target(kExecuteCuda);
  return targets;
}

py::dict StateType() {
  static constexpr XLA_FFI_TypeInfo kInfo = ffi::MakeTypeInfo<ProgramState>();
  py::dict type;
  type["type_id"] = py::capsule(&ProgramState::id);
  type["type_info"] = py::capsule(&kInfo);
  return type;
}

}  // namespace bridge
