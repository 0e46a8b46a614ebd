// Classifying objects, and saying where two trees differ.
#include "core/walk.h"

#include "support/arguments.h"

namespace pax_tree {

bool Options::Set(PyObject* leaf, PyObject* none, PyObject* takes_path) {
  if (leaf != Py_None) is_leaf = leaf;
  int none_truth = Truth(none, false), path_truth = Truth(takes_path, false);
  none_is_leaf = none_truth == 1;
  is_leaf_takes_path = path_truth == 1 && is_leaf != nullptr;
  return none_truth >= 0 && path_truth >= 0;
}

bool Walk::AskIsLeaf(PyObject* object, bool* leaf) {
  Ref answer;
  if (options.is_leaf_takes_path) {
    Ref where(path.Tuple());
    if (!where) return false;
    answer = Ref(PyObject_CallFunctionObjArgs(options.is_leaf, where.get(), object, nullptr));
  } else {
    answer = Ref(PyObject_CallOneArg(options.is_leaf, object));
  }
  int truth = answer ? PyObject_IsTrue(answer.get()) : -1;
  *leaf = truth == 1;
  return truth >= 0;
}

bool Walk::ClassifyAsking(PyObject* object, Verdict* verdict) {
  bool leaf;
  if (!AskIsLeaf(object, &leaf)) return false;
  if (leaf) return verdict->Set(Kind::kLeaf, nullptr);
  return ClassifyType(object, verdict);
}

bool Walk::ClassifyUnregistered(PyTypeObject* type, Verdict* verdict) {
  PyObject* object = reinterpret_cast<PyObject*>(type);
  if (object != last_type_.get()) {
    last_type_ = Ref();
    if (!ClassifyUnknownType(type, &last_verdict_)) return false;
    last_type_ = Ref::Borrow(object);
  }
  *verdict = last_verdict_;
  return true;
}

bool Walk::ClassifyOther(PyTypeObject* type, Verdict* verdict) {
  Registration* known = FindRegistration(type);
  if (known == nullptr) {
    if (!ClassifyUnregistered(type, verdict)) return false;
  } else {
    *verdict = {known->kind, known};
    if (known->kind == Kind::kNone && options.none_is_leaf) verdict->kind = Kind::kLeaf;
  }
  if (verdict->kind == Kind::kLeaf && type != Py_TYPE(Py_None)) {
    held_leaf_type_ = Ref::Borrow(reinterpret_cast<PyObject*>(type));
    leaf_type_ = type;
  }
  return true;
}

bool Walk::Differ(std::string what) {
  differs = true;
  difference = std::move(what);
  return false;
}

void Walk::AddPlace(PyObject* key) {
  if (key == nullptr) PyErr_Clear();
  place.emplace_back(key);
}

void Walk::RaiseDifference() {
  if (!differs || PyErr_Occurred()) return;
  std::string where;
  for (auto key = place.rbegin(); key != place.rend(); ++key) {
    Ref text(*key ? PyObject_Str(key->get()) : nullptr);
    const char* utf8 = text ? PyUnicode_AsUTF8(text.get()) : nullptr;
    if (utf8 == nullptr) PyErr_Clear();
    where += utf8 == nullptr ? "[?]" : utf8;
  }
  std::string which = other_tree > 0 ? "the first and number " + std::to_string(other_tree + 1)
                                     : std::string("the expected one and the given one");
  std::string at = where.empty() ? std::string("at the root") : "at " + where;
  PyErr_Format(PyExc_ValueError, "%s: the trees must have the same structure, but %s differ %s: %s",
               function, which.c_str(), at.c_str(), difference.c_str());
}

PyObject* KeyPath::Tuple() const {
  auto size = static_cast<Py_ssize_t>(keys_.size());
  PyObject* tuple = PyTuple_New(size);
  for (Py_ssize_t i = 0; tuple != nullptr && i < size; ++i) {
    PyTuple_SET_ITEM(tuple, i, Py_NewRef(keys_[i]));
  }
  return tuple;
}

}  // namespace pax_tree
