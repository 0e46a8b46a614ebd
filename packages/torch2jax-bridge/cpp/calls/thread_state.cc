#include "calls/thread_state.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

#include "support/compat.h"
#include "support/errors.h"
#include "support/hooks.h"

namespace py = pybind11;

namespace bridge {
namespace {

NativeGradMode native;

bool IsGradEnabled() {
  if (native.is_enabled != nullptr) return native.is_enabled();
  return Checked(PyObject_CallNoArgs(hooks.is_grad_enabled)).ptr() == Py_True;
}

// The register that says what this thread does with floating-point numbers, and its bits for
// denormal ones. Where the processor is none of these it is left alone.
#if defined(__x86_64__) || defined(_M_X64)
constexpr std::uint64_t kFlush = 0x8040;  // results, and arguments
std::uint64_t FloatControl() { return _mm_getcsr(); }
void SetFloatControl(std::uint64_t value) { _mm_setcsr(static_cast<unsigned int>(value)); }
#elif defined(__aarch64__)
constexpr std::uint64_t kFlush = 1 << 24;
std::uint64_t FloatControl() {
  std::uint64_t value;
  asm volatile("mrs %0, fpcr" : "=r"(value));
  return value;
}
void SetFloatControl(std::uint64_t value) { asm volatile("msr fpcr, %0" : : "r"(value)); }
#else
constexpr std::uint64_t kFlush = 0;
std::uint64_t FloatControl() { return 0; }
void SetFloatControl(std::uint64_t) {}
#endif

}  // namespace

bool FlushesDenormals() { return (FloatControl() & kFlush) != 0; }

DenormalScope::DenormalScope(bool flush) : found_(FloatControl()) {
  const std::uint64_t wanted = flush ? found_ | kFlush : found_ & ~kFlush;
  if (wanted != found_) SetFloatControl(wanted);
}

// The function itself may have changed it.
DenormalScope::~DenormalScope() {
  if (((FloatControl() ^ found_) & kFlush) != 0) SetFloatControl(found_);
}

void UseNativeGradMode(std::uintptr_t is_enabled, std::uintptr_t set_enabled) {
  native = NativeGradModeAt(is_enabled, set_enabled);
}

SettingsScope::SettingsScope(const Callable& callable) : callable_(callable) {
  if (callable.checks() != nullptr && callable.checks()->Hold()) return;
  found_ = Checked(PyObject_CallOneArg(hooks.enter_settings, callable.settings()));
}

SettingsScope::~SettingsScope() {
  if (found_) {
    CallKeepingException(hooks.leave_settings, found_.ptr());
  } else if (!callable_.checks_of_thread()->Hold()) {
    CallKeepingException(hooks.restore_settings, callable_.settings());
  }
}

NoGradScope::NoGradScope() : was_enabled_(IsGradEnabled()) {
  if (!was_enabled_) return;
  if (native.set_enabled != nullptr) {
    native.set_enabled(false);
  } else {
    Checked(PyObject_CallOneArg(hooks.set_grad_enabled, Py_False));
  }
}

// The function itself may have changed the mode, so it is set whatever it was.
NoGradScope::~NoGradScope() {
  if (native.set_enabled != nullptr) {
    native.set_enabled(was_enabled_);
  } else {
    CallKeepingException(hooks.set_grad_enabled, was_enabled_ ? Py_True : Py_False);
  }
}

NoExecutionScope::NoExecutionScope()
    : found_(Checked(PyObject_CallOneArg(hooks.forbid_execution, Py_True))) {}

NoExecutionScope::~NoExecutionScope() {
  CallKeepingException(hooks.restore_execution, found_.ptr());
}

StreamScope::StreamScope(void* stream, int32_t ordinal, int64_t run_id) {
  const py::int_ pointer(reinterpret_cast<std::uintptr_t>(stream));
  const py::int_ device(ordinal);
  const py::int_ run(run_id);
  PyObject* arguments[] = {pointer.ptr(), device.ptr(), run.ptr()};
  found_ = Checked(PyObject_Vectorcall(hooks.enter_stream, arguments, 3, nullptr));
}

StreamScope::~StreamScope() { CallKeepingException(hooks.leave_stream, found_.ptr()); }

}  // namespace bridge
