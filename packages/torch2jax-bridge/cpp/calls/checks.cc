#include "calls/checks.h"

namespace py = pybind11;

namespace bridge {

Checks::Checks(const py::iterable& getters, const py::iterable& native, const py::iterable& items) {
  for (py::handle item : getters) {
    auto [getter, expected] = item.cast<std::pair<py::object, py::object>>();
    getters_.emplace_back(Getter(std::move(getter)), std::move(expected));
  }
  for (py::handle item : native) {
    const auto [getter, expected] = item.cast<std::pair<py::object, std::int64_t>>();
    native_.emplace_back(NativeGetter::From(getter), expected);
  }
  for (py::handle item : items) {
    auto [place, expected] = item.cast<std::pair<py::tuple, py::object>>();
    items_.emplace_back(ItemGetter(place[0].cast<py::dict>(), place[1]), std::move(expected));
  }
}

bool Checks::Hold() const {
  for (const auto& [getter, expected] : native_) {
    if (getter() != expected) return false;
  }
  for (const auto& [item, expected] : items_) {
    if (item() != expected.ptr()) return false;
  }
  for (const auto& [getter, expected] : getters_) {
    if (!getter().is(expected)) return false;
  }
  return true;
}

}  // namespace bridge
