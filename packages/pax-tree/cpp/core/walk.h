// What one walk over trees carries along.
#pragma once

#include <Python.h>

#include <string>
#include <vector>

#include "core/node.h"
#include "core/registry.h"
#include "record/captured.h"
#include "support/depth.h"
#include "support/ref.h"
#include "support/stack.h"

namespace pax_tree {

// How a tree is to be seen, from the caller's keyword arguments.
struct Options {
  PyObject* is_leaf = nullptr;  // borrowed
  bool none_is_leaf = false;
  bool is_leaf_takes_path = false;

  // Takes the values of the keywords, null where not given. False with an error set.
  bool Set(PyObject* leaf, PyObject* none, PyObject* takes_path = nullptr);
};

// The keys from the root to the present node.
class KeyPath {
 public:
  ~KeyPath() {
    for (PyObject* key : keys_) Py_DECREF(key);
  }
  // Steals the key, which may be null with an error set. False with an error set.
  bool Push(PyObject* key) {
    PyObject** place = key == nullptr ? nullptr : keys_.Reserve(1);
    if (place == nullptr) {
      Py_XDECREF(key);
      return false;
    }
    *place = key;
    keys_.Resize(keys_.size() + 1);
    return true;
  }
  void Pop() {
    keys_.Resize(keys_.size() - 1);
    Py_DECREF(*keys_.end());
  }
  PyObject* Tuple() const;

 private:
  Stack<PyObject*, 16> keys_;
};

struct Walk {
  explicit Walk(const char* name, Options given = {}) : function(name), options(given) {}
  Walk(const Walk&) = delete;

  // The kind of `object`, after asking is_leaf. False with an error set.
  bool Classify(PyObject* object, Verdict* verdict) {
    if (options.is_leaf == nullptr) return ClassifyType(object, verdict);
    return ClassifyAsking(object, verdict);
  }
  // The same without asking is_leaf.
  bool ClassifyType(PyObject* object, Verdict* verdict) {
    PyTypeObject* type = Py_TYPE(object);
    if (type == leaf_type_) return verdict->Set(Kind::kLeaf, nullptr);
    if (type == &PyDict_Type) return verdict->Set(Kind::kDict, dict_registration);
    if (type == &PyList_Type) return verdict->Set(Kind::kList, list_registration);
    if (type == &PyTuple_Type) return verdict->Set(Kind::kTuple, tuple_registration);
    return ClassifyOther(type, verdict);
  }
  // Whether `object` is of the last type of leaf that was seen, so that nobody need be asked.
  bool IsLikeLastLeaf(PyObject* object) const {
    return Py_TYPE(object) == leaf_type_ && options.is_leaf == nullptr;
  }

  // A difference between two trees. Each level of the recursion then adds its key to `place`.
  bool Differ(std::string what);
  void AddPlace(PyObject* key);  // steals; takes null for "unknown"
  // Raises ValueError for a difference found, if no other error is set.
  void RaiseDifference();

  const char* function;
  Options options;
  bool with_path = false;
  Depth depth;
  Reader reader;
  KeyPath path;
  bool differs = false;
  int other_tree = 0;  // which of the rest differs; 0 when only one can
  std::string difference;
  std::vector<Ref> place;

 private:
  bool AskIsLeaf(PyObject* object, bool* leaf);
  bool ClassifyAsking(PyObject* object, Verdict* verdict);
  bool ClassifyOther(PyTypeObject* type, Verdict* verdict);
  bool ClassifyUnregistered(PyTypeObject* type, Verdict* verdict);

  PyTypeObject* leaf_type_ = nullptr;  // what `held_leaf_type_` holds
  Ref held_leaf_type_;
  Ref last_type_;  // the verdict on the last unregistered type of this walk
  Verdict last_verdict_ = {Kind::kLeaf, nullptr};
};

}  // namespace pax_tree
