#include "calls/handlers.h"

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "calls/registry.h"
#include "calls/thread_state.h"
#include "support/errors.h"
#include "support/gil.h"
#include "support/interrupts.h"
#include "tensors/native.h"
#include "tensors/tensors.h"

namespace ffi = xla::ffi;
namespace py = pybind11;

namespace bridge {
namespace {

void BorrowAll(const ffi::RemainingArgs& args, dlpack::Device device, Loan* loan,
               std::vector<py::object>& tensors) {
  for (size_t i = 0; i < args.size(); ++i) {
    tensors.push_back(Borrow(args.get<ffi::AnyBuffer>(i).value(), device, loan));
  }
}

void BorrowAll(const ffi::RemainingRets& rets, dlpack::Device device, Loan* loan,
               std::vector<py::object>& tensors) {
  for (size_t i = 0; i < rets.size(); ++i) {
    tensors.push_back(Borrow(*rets.get<ffi::AnyBuffer>(i).value(), device, loan));
  }
}

#ifdef __linux__

// Asks the system for huge pages in fresh memory that is about to be written as a whole, as NumPy
// does for its arrays: fewer page faults. Only a hint; does nothing for small memory.
void AdviseHugePages(void* data, size_t size) {
  constexpr size_t kLeast = size_t{1} << 22;  // there is a whole huge page in it
  constexpr uintptr_t kPage = uintptr_t{1} << 12;
  if (size < kLeast) return;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + kPage - 1) / kPage * kPage;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + size) / kPage * kPage;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

#else

void AdviseHugePages(void*, size_t) {}

#endif

void AdviseAll(const ffi::RemainingRets& rets) {
  for (size_t i = 0; i < rets.size(); ++i) {
    const ffi::AnyBuffer out = *rets.get<ffi::AnyBuffer>(i).value();
    AdviseHugePages(out.untyped_data(), out.size_bytes());
  }
}

py::object Call(PyObject* callable, const std::vector<py::object>& tensors) {
  static_assert(sizeof(py::object) == sizeof(PyObject*), "a vector of objects is one of pointers");
  auto* pointers = reinterpret_cast<PyObject* const*>(tensors.data());
  return Checked(PyObject_Vectorcall(callable, pointers, tensors.size(), nullptr));
}

// The first version of a borrowed tensor is 0; every operation that writes into it counts one up.
void CheckUnchanged(const std::vector<py::object>& tensors, size_t inputs,
                    const CallOptions& options) {
  for (size_t i = 0; i < inputs; ++i) {
    if (i < options.written.size() && options.written[i]) continue;
    if (Version(tensors[i]) == 0) continue;
    throw py::value_error("The function changed " + ArgumentLabel(options, i) +
                          " in place; arrays of JAX may not be written to: clone it first, or name"
                          " it in input_output_aliases.");
  }
}

void CheckNotKept(const std::vector<py::object>& tensors, const CallOptions& options) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].ref_count() == 1) continue;
    throw py::value_error("The function kept " + ArgumentLabel(options, i) +
                          ", or a view of it, beyond the call; clone what is to be kept.");
  }
}

// The tensors of a call, in memory of an earlier one. Made and destroyed with the GIL held.
class TensorsScope {
 public:
  explicit TensorsScope(size_t count) {
    tensors.swap(Spare());
    tensors.reserve(count);
  }
  ~TensorsScope() {
    tensors.clear();
    if (Spare().capacity() < tensors.capacity()) tensors.swap(Spare());
  }
  TensorsScope(const TensorsScope&) = delete;
  TensorsScope& operator=(const TensorsScope&) = delete;

  std::vector<py::object> tensors;

 private:
  // Empty. Leaked on purpose.
  static std::vector<py::object>& Spare() {
    static auto& spare = *new std::vector<py::object>;
    return spare;
  }
};

void CallAndWrite(const Callable& callable, const ffi::RemainingArgs& args,
                  const ffi::RemainingRets& rets, dlpack::Device device) {
  const CallOptions& options = callable.options;
  const DenormalScope denormals(options.flushes_denormals);
  const SettingsScope settings(callable);
  const Loan::Owner loan;
  TensorsScope scope(args.size() + rets.size());
  std::vector<py::object>& tensors = scope.tensors;
  BorrowAll(args, device, loan.get(), tensors);
  if (device.device_type == dlpack::kCpu) AdviseAll(rets);
  if (options.takes_outputs) BorrowAll(rets, device, loan.get(), tensors);
  {
    const NoExecutionScope no_execution;
    const NoGradScope no_grad;
    const py::object results = Call(callable.function(), tensors);
    CheckUnchanged(tensors, args.size(), options);
    const bool lent = options.takes_outputs || !options.written.empty();
    WriteAll(results, rets, device, {options.narrow, lent});
  }
  if (options.keeps_inputs) return;
  if (options.strict) CheckNotKept(tensors, options);
  Reclaim(tensors, loan, device);
}

// Runs `body` with the GIL and turns whatever it throws into an error of XLA's.
template <typename Body>
ffi::Error Guarded(const CallOptions& options, Body body) {
  if (IsForked()) {
    return ffi::Error(ffi::ErrorCode::kFailedPrecondition,
                      "This process was forked after torch2jax_bridge was imported, and JAX does "
                      "not work in a fork; start processes with the method 'spawn'.");
  }
  InFlight call;
  if (!call.ok())
    return ffi::Error(ffi::ErrorCode::kCancelled, "The interpreter is shutting down.");
  const GilScope gil;
  const InterruptScope interrupts;
  DropReleased();
  try {
    body();
    return ffi::Error::Success();
  } catch (...) {
    SetPythonError();
  }
  return ffi::Error::Internal(ReportPythonError(options.name, options.note));
}

template <Platform platform>
ffi::ErrorOr<std::unique_ptr<ProgramState<platform>>> Instantiate(int64_t handle) {
  std::shared_ptr<Callable> callable = FindCallable(handle);
  if (callable == nullptr) {
    return ffi::Unexpected(ffi::Error::InvalidArgument(
        "This program calls a PyTorch function of another process or one that is gone; "
        "trace and compile it again."));
  }
  using State = ProgramState<platform>;
  return std::make_unique<State>(State{std::move(callable)});
}

ffi::Error ExecuteCpu(ProgramState<Platform::kCpu>* state, ffi::RunId run, int64_t,
                      ffi::RemainingArgs args, ffi::RemainingRets rets) {
  const Callable& callable = *state->callable;
  current_cpu_run = run.run_id;
  return Guarded(callable.options, [&] { CallAndWrite(callable, args, rets, {dlpack::kCpu, 0}); });
}

ffi::Error ExecuteCuda(ProgramState<Platform::kCuda>* state, void* stream, int32_t ordinal,
                       ffi::RunId run, int64_t, ffi::RemainingArgs args, ffi::RemainingRets rets) {
  const Callable& callable = *state->callable;
  return Guarded(callable.options, [&] {
    const StreamScope scope(stream, ordinal, run.run_id);
    CallAndWrite(callable, args, rets, {dlpack::kCuda, ordinal});
  });
}

ffi::Error ExecuteNothing(ffi::RemainingArgs, ffi::RemainingRets) { return ffi::Error::Success(); }

XLA_FFI_DEFINE_HANDLER(kInstantiateCpu, Instantiate<Platform::kCpu>,
                       ffi::Ffi::BindInstantiate().Attr<int64_t>("handle"));

XLA_FFI_DEFINE_HANDLER(kInstantiateCuda, Instantiate<Platform::kCuda>,
                       ffi::Ffi::BindInstantiate().Attr<int64_t>("handle"));

XLA_FFI_DEFINE_HANDLER(kExecuteCpu, ExecuteCpu,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::State<ProgramState<Platform::kCpu>>>()
                           .Ctx<ffi::RunId>()
                           .Attr<int64_t>("handle")
                           .RemainingArgs()
                           .RemainingRets());

XLA_FFI_DEFINE_HANDLER(kExecuteCuda, ExecuteCuda,
                       ffi::Ffi::Bind()
                           .Ctx<ffi::State<ProgramState<Platform::kCuda>>>()
                           .Ctx<ffi::PlatformStream<void*>>()
                           .Ctx<ffi::DeviceOrdinal>()
                           .Ctx<ffi::RunId>()
                           .Attr<int64_t>("handle")
                           .RemainingArgs()
                           .RemainingRets());

XLA_FFI_DEFINE_HANDLER(kExecuteNothing, ExecuteNothing,
                       ffi::Ffi::Bind().RemainingArgs().RemainingRets());

py::capsule Capsule(XLA_FFI_Handler* handler) {
  return py::capsule(reinterpret_cast<void*>(handler));
}

py::dict Target(XLA_FFI_Handler* instantiate, XLA_FFI_Handler* execute) {
  py::dict stages;
  stages["instantiate"] = Capsule(instantiate);
  stages["execute"] = Capsule(execute);
  return stages;
}

template <Platform platform>
py::dict StateType() {
  static constexpr XLA_FFI_TypeInfo kInfo = ffi::MakeTypeInfo<ProgramState<platform>>();
  py::dict type;
  type["type_id"] = py::capsule(&ProgramState<platform>::id);
  type["type_info"] = py::capsule(&kInfo);
  return type;
}

}  // namespace

py::dict Targets() {
  py::dict targets;
  targets["cpu"] = Target(kInstantiateCpu, kExecuteCpu);
  targets["CUDA"] = Target(kInstantiateCuda, kExecuteCuda);
  return targets;
}

py::capsule EmptyTarget() { return Capsule(kExecuteNothing); }

py::dict StateTypes() {
  py::dict types;
  types["cpu"] = StateType<Platform::kCpu>();
  types["CUDA"] = StateType<Platform::kCuda>();
  return types;
}

}  // namespace bridge
