// Which records are held, as constants, by programs that were traced and are kept.
#include "record/captured.h"

#include "support/threads.h"

namespace pax_tree {
namespace {

// Programs are forgotten all at once, which ends an era; what was captured before then is no more.
std::atomic<uint32_t> era{1};

}  // namespace

bool IsCaptured(const Record* record) { return record->captured == era.load(kObserve); }

bool Reader::Ask() {
  if (!asked_) asked_ = CurrentScope(&scope_);
  return asked_;
}

bool Reader::IsAtTopLevel() { return Ask() && !scope_; }

bool Reader::IsWhereMade(const Record* record) { return !Ask() || record->scope == scope_.get(); }

bool Reader::NoteTraced(Record* record) {
  if (IsAtTopLevel()) return true;
  if (PyErr_Occurred()) return false;
  uint32_t now = era.load(kObserve);
  PyObject* cls = reinterpret_cast<PyObject*>(Py_TYPE(record));
  Ref kept(PyObject_CallMethod(cls, "_is_kept", nullptr));
  if (kept.get() == Py_True) record->captured = now;
  return static_cast<bool>(kept);
}

bool TellCaptured(Record* record, PyObject* name) {
  if (!IsCaptured(record)) return true;
  era.fetch_add(1);
  PyObject* cls = reinterpret_cast<PyObject*>(Py_TYPE(record));
  Ref told(PyObject_CallMethod(cls, "_captured_changed", "O", name));
  return static_cast<bool>(told);
}

}  // namespace pax_tree
