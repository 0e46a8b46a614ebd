#include "calls/registry.h"

#include <atomic>
#include <mutex>
#include <random>
#include <unordered_map>

#include "support/gil.h"

namespace bridge {
namespace {

struct Tables {
  std::mutex mutex;  // never held while Python code may run
  std::unordered_map<int64_t, std::shared_ptr<Callable>> callables;
  std::vector<PyObject*> released;
  std::atomic<bool> any_released{false};
  int64_t next_id = 0;
};

// Numbers start at random, so that a program which another process stored on disk
// never finds a callable of this one.
int64_t FirstId() {
  std::random_device device;
  const uint64_t bits = (uint64_t{device()} << 32) ^ device();
  return static_cast<int64_t>(bits >> 2);
}

// Leaked on purpose: XLA may free programs after the static destructors have run.
Tables& GetTables() {
  static Tables* tables = [] {
    auto* made = new Tables;
    made->next_id = FirstId();
    return made;
  }();
  return *tables;
}

int DropReleasedPending(void*) {
  DropReleased();
  return 0;
}

}  // namespace

std::string ArgumentLabel(const CallOptions& options, size_t index) {
  const std::string name =
      index < options.names.size() ? " (" + options.names[index] + ")" : std::string();
  return "its array argument number " + std::to_string(index) + name;
}

Callable::Callable(PyObject* owned, CallOptions options)
    : options(std::move(options)),
      object_(owned),
      checks_(pybind11::handle(PyTuple_GET_ITEM(owned, 2)).cast<const Checks*>()),
      checks_of_thread_(pybind11::handle(PyTuple_GET_ITEM(owned, 3)).cast<const Checks*>()) {}

// Taking the GIL here could deadlock with a thread that waits for XLA while holding it,
// so the reference is only handed over.
Callable::~Callable() {
  InFlight call;
  if (!call.ok() || IsForked()) return;
  Tables& tables = GetTables();
  {
    std::lock_guard<std::mutex> lock(tables.mutex);
    tables.released.push_back(object_);
  }
  if (!tables.any_released.exchange(true)) Py_AddPendingCall(DropReleasedPending, nullptr);
}

Handle::Handle(pybind11::object function, pybind11::object settings, CallOptions options) {
  pybind11::object object = pybind11::make_tuple(function, settings, settings.attr("checks"),
                                                 settings.attr("checks_of_thread"));
  auto owned = std::make_shared<Callable>(object.release().ptr(), std::move(options));
  Tables& tables = GetTables();
  std::lock_guard<std::mutex> lock(tables.mutex);
  id_ = tables.next_id++;
  tables.callables.emplace(id_, std::move(owned));
}

Handle::~Handle() {
  if (IsForked()) return;  // another thread may have held the lock
  Tables& tables = GetTables();
  std::shared_ptr<Callable> last;
  {
    std::lock_guard<std::mutex> lock(tables.mutex);
    auto found = tables.callables.find(id_);
    last = std::move(found->second);
    tables.callables.erase(found);
  }
  last.reset();
  DropReleased();
}

std::shared_ptr<Callable> FindCallable(int64_t id) {
  Tables& tables = GetTables();
  std::lock_guard<std::mutex> lock(tables.mutex);
  auto found = tables.callables.find(id);
  return found == tables.callables.end() ? nullptr : found->second;
}

void DropReleased() {
  Tables& tables = GetTables();
  // Reading is less work than writing, and there is nothing most of the time.
  if (!tables.any_released.load() || !tables.any_released.exchange(false)) return;
  std::vector<PyObject*> released;
  {
    std::lock_guard<std::mutex> lock(tables.mutex);
    released.swap(tables.released);
  }
  for (PyObject* callable : released) Py_DECREF(callable);
}

}  // namespace bridge
