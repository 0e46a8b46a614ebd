// From one spec to the next, when an attribute is set.
#include <algorithm>
#include <string>

#include "record/spec.h"
#include "support/compat.h"
#include "support/sequence.h"

namespace pax_tree {
namespace {

using Transition = RecordSpec::Transition;

bool SameChange(const Transition& t, PyObject* name, PyObject* value, int kind) {
  return t.name == name && t.value == value && t.kind == kind;
}

// The remembered target of this change if it is still alive; never an error.
RecordSpec* RecallTransition(RecordSpec* spec, PyObject* name, PyObject* value, int kind) {
  Lock lock(&spec->mutex);
  for (const Transition& t : spec->transitions) {
    if (t.target == nullptr || !SameChange(t, name, value, kind)) continue;
    if (PyObject* target = Referent(t.target)) return AsSpec(target);
  }
  return nullptr;
}

// Whether the target holds this very object: an equal one may be held by nobody soon, and its
// address be that of another.
bool HoldsValue(RecordSpec* target, PyObject* name, PyObject* value) {
  return value == nullptr || PyDict_GetItemWithError(target->statics, name) == value;
}

bool RememberTransition(RecordSpec* spec, PyObject* name, PyObject* value, int kind,
                        RecordSpec* target) {
  if (target == spec || !HoldsValue(target, name, value)) return !PyErr_Occurred();
  Ref weak(PyWeakref_NewRef(AsObject(target), nullptr));
  if (!weak) return false;
  Ref old_name, old_target;  // dropped after the lock is
  Lock lock(&spec->mutex);
  Transition& slot = spec->transitions[spec->next_transition];
  spec->next_transition =
      static_cast<uint8_t>((spec->next_transition + 1) % RecordSpec::kTransitions);
  old_name = Ref(slot.name), old_target = Ref(slot.target);
  slot = {Py_NewRef(name), value, kind, weak.release()};
  return true;
}

// Tuples of a spec's parts with one entry set or taken out. Each is a new reference.
PyObject* TupleWithout(PyObject* tuple, Py_ssize_t at) {
  return MakeTuple(PyTuple_GET_SIZE(tuple) - 1, [=](Py_ssize_t i) {
    return Py_NewRef(PyTuple_GET_ITEM(tuple, i < at ? i : i + 1));
  });
}

PyObject* TupleWith(PyObject* tuple, Py_ssize_t at, PyObject* item, bool replace) {
  Py_ssize_t more = replace ? 0 : 1;
  return MakeTuple(PyTuple_GET_SIZE(tuple) + more, [=](Py_ssize_t i) {
    return Py_NewRef(i == at ? item : PyTuple_GET_ITEM(tuple, i < at ? i : i - more));
  });
}

PyObject* BytesOf(const std::string& text) {
  return PyBytes_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
}

std::string KindsOf(RecordSpec* spec) {
  return std::string(PyBytes_AS_STRING(spec->kinds), NumChildren(spec));
}

PyObject* FrozenName(PyObject* frozen, Py_ssize_t at) {
  return PyTuple_GET_ITEM(PyTuple_GET_ITEM(frozen, at), 0);
}

// Where `name` stands, or belongs, among the sorted (name, frozen value) pairs.
Py_ssize_t FrozenPosition(PyObject* frozen, PyObject* name, bool* found) {
  Py_ssize_t low = 0, high = PyTuple_GET_SIZE(frozen);
  *found = false;
  while (low < high) {
    Py_ssize_t middle = low + (high - low) / 2;
    int order = PyUnicode_Compare(FrozenName(frozen, middle), name);
    if (order == 0) *found = true;
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// The parts of a spec under change; `Intern` makes the result.
struct Draft {
  RecordSpec* spec;
  Ref names, kinds, statics, frozen;

  explicit Draft(RecordSpec* from)
      : spec(from),
        names(Ref::Borrow(from->names)),
        kinds(Ref::Borrow(from->kinds)),
        statics(PyDict_Copy(from->statics)),
        frozen(Ref::Borrow(from->frozen)) {}

  bool DropChild(Py_ssize_t at) {
    std::string bytes = KindsOf(spec);
    kinds = Ref(BytesOf(bytes.erase(at, 1)));
    names = Ref(TupleWithout(spec->names, at));
    return names && kinds;
  }

  bool SetChild(Py_ssize_t at, PyObject* name, int kind) {
    std::string bytes = KindsOf(spec);
    if (at >= 0) {
      bytes[at] = static_cast<char>(kind);
    } else {
      bytes.push_back(static_cast<char>(kind));
      names = Ref(TupleWith(spec->names, NumChildren(spec), name, false));
    }
    kinds = Ref(BytesOf(bytes));
    return names && kinds;
  }

  bool DropStatic(PyObject* name) {
    bool found;
    Py_ssize_t at = FrozenPosition(spec->frozen, name, &found);
    if (!found) return true;
    frozen = Ref(TupleWithout(spec->frozen, at));
    return frozen && PyDict_DelItem(statics.get(), name) == 0;
  }

  bool SetStatic(PyObject* name, PyObject* value) {
    Ref key(Freeze(value));
    Ref pair(key ? PyTuple_Pack(2, name, key.get()) : nullptr);
    if (!pair) return false;
    bool found;
    Py_ssize_t at = FrozenPosition(spec->frozen, name, &found);
    frozen = Ref(TupleWith(spec->frozen, at, pair.get(), found));
    return frozen && PyDict_SetItem(statics.get(), name, value) == 0;
  }

  RecordSpec* Intern() {
    bool appended = PyTuple_GET_SIZE(names.get()) > NumChildren(spec);
    return InternSpec(spec->cls, names.get(), kinds.get(), statics.get(), frozen.get(),
                      appended ? spec : nullptr);
  }
};

RecordSpec* DraftChild(RecordSpec* spec, Py_ssize_t at, PyObject* name, int kind) {
  Draft draft(spec);
  if (!draft.statics || !draft.SetChild(at, name, kind) || !draft.DropStatic(name)) return nullptr;
  return draft.Intern();
}

RecordSpec* DraftStatic(RecordSpec* spec, Py_ssize_t at, PyObject* name, PyObject* value) {
  Draft draft(spec);
  if (!draft.statics || (at >= 0 && !draft.DropChild(at))) return nullptr;
  return draft.SetStatic(name, value) ? draft.Intern() : nullptr;
}

Py_ssize_t NumAttributes(const RecordSpec* spec) {
  return NumChildren(spec) + PyDict_GET_SIZE(spec->statics);
}

// A spec that grew keeps the one it grew from, so that the next object of the class finds it. Of
// many attributes it keeps the last of some length, since each spec has names and values of its
// own.
void KeepAncestor(RecordSpec* spec, RecordSpec* from) {
  constexpr Py_ssize_t kKept = 256;
  if (NumAttributes(spec) <= NumAttributes(from)) return;
  PyObject* ancestor = NumAttributes(from) < kKept ? AsObject(from) : from->ancestor;
  Lock lock(&spec->mutex);
  if (spec->ancestor == nullptr) spec->ancestor = Py_XNewRef(ancestor);
}

RecordSpec* Finish(RecordSpec* spec, PyObject* name, PyObject* value, int kind, RecordSpec* next) {
  if (next == nullptr) return nullptr;
  KeepAncestor(next, spec);
  if (RememberTransition(spec, name, value, kind, next)) return next;
  Py_DECREF(AsObject(next));
  return nullptr;
}

}  // namespace

RecordSpec* SpecWithChild(RecordSpec* spec, PyObject* name, int kind) {
  if (RecordSpec* known = RecallTransition(spec, name, nullptr, kind)) return known;
  Py_ssize_t at = FindChild(spec, name);
  if (at == -2) return nullptr;
  return Finish(spec, name, nullptr, kind, DraftChild(spec, at, name, kind));
}

PyObject* FrozenStatic(RecordSpec* spec, PyObject* name) {
  bool found;
  Py_ssize_t at = FrozenPosition(spec->frozen, name, &found);
  return found ? PyTuple_GET_ITEM(PyTuple_GET_ITEM(spec->frozen, at), 1) : nullptr;
}

// A list or a dict can change without changing its identity: such a value is compared each time.
RecordSpec* SpecWithStatic(RecordSpec* spec, PyObject* name, PyObject* value) {
  bool mutable_value = PyTuple_Check(value) || MayChange(value);
  if (mutable_value && PyErr_Occurred()) return nullptr;
  if (!mutable_value) {
    if (RecordSpec* known = RecallTransition(spec, name, value, kStatic)) return known;
  }
  Py_ssize_t at = FindChild(spec, name);
  if (at == -2) return nullptr;
  RecordSpec* next = DraftStatic(spec, at, name, value);
  if (mutable_value) return next;
  return Finish(spec, name, value, kStatic, next);
}

}  // namespace pax_tree
