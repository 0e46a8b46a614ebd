// Walking a structure as deep as another one goes, leaf by leaf.
#include "dm/cursor.h"

#include "core/parts.h"

namespace pax_tree::dm {
namespace {

PyObject* DictOfItems(const Children& children) {
  Ref dict(PyDict_New());
  for (Py_ssize_t i = 0; dict && i < children.size(); ++i) {
    Ref key(children.Key(i));
    if (!key || PyDict_SetItem(dict.get(), key.get(), children[i]) < 0) return nullptr;
  }
  return dict.release();
}

std::string Text(PyObject* owned) {
  Ref object(owned);
  return object ? SafeRepr(owned) : "?";
}

bool CheckDepth(size_t depth) {
  if (depth < static_cast<size_t>(Py_GetRecursionLimit())) return true;
  PyErr_SetString(PyExc_RecursionError, "The structure is deeper than the recursion limit.");
  return false;
}

}  // namespace

PyObject* Cursor::Path() const {
  PyObject* path = PyTuple_New(static_cast<Py_ssize_t>(levels_.size()));
  for (size_t i = 0; path != nullptr && i < levels_.size(); ++i) {
    PyObject* key = levels_[i].shallow.Key(levels_[i].next - 1);
    if (key == nullptr) return Py_DECREF(path), nullptr;
    PyTuple_SET_ITEM(path, static_cast<Py_ssize_t>(i), key);
  }
  return path;
}

PyObject* Cursor::Missing(PyObject* key) {
  return PyErr_Format(PyExc_ValueError,
                      "%s: the shallow structure has the key %s at the path %s, and a structure to "
                      "be taken apart has not.",
                      function_, SafeRepr(key).c_str(), Text(Path()).c_str());
}

bool Cursor::OpenInput(PyObject* object, Children* children) {
  Form form;
  if (!FormOf(object, &form)) return false;
  if (OpenItems(object, form, children)) return true;
  if (form.nested || form.keyed || !PyErr_ExceptionMatches(PyExc_TypeError)) return false;
  RaiseFrom(PyExc_TypeError, std::string(function_) + ": a structure to be taken apart has " +
                                 DescribeForm(object, form) +
                                 " where the shallow structure has a node.");
  return false;
}

bool Cursor::Push(PyObject* shallow, Form form, PyObject* input) {
  Level level;
  if (!CheckDepth(levels_.size())) return false;
  bool same = shallow == input;
  if (!same && !OpenInput(input, &level.input)) return false;
  if (!OpenItems(shallow, form, &level.shallow)) return false;
  if (same) {
    level.input.keys = Ref::Borrow(level.shallow.keys.get());
    level.input.values = Ref::Borrow(level.shallow.values.get());
  }
  levels_.push_back(std::move(level));
  return true;
}

// The input's child under the key of the shallow one, borrowed. Often it stands at the same place.
PyObject* Cursor::Find(Level* level, Py_ssize_t i) {
  const Children &shallow = level->shallow, &input = level->input;
  bool here = i < input.size() && !shallow.keys == !input.keys;
  if (here && (!input.keys || PySequence_Fast_GET_ITEM(input.keys.get(), i) ==
                                  PySequence_Fast_GET_ITEM(shallow.keys.get(), i))) {
    return input[i];
  }
  Ref key(shallow.Key(i));
  if (key && !level->by_key) level->by_key = Ref(DictOfItems(input));
  if (!key || !level->by_key) return nullptr;
  PyObject* child = PyDict_GetItemWithError(level->by_key.get(), key.get());
  return child != nullptr || PyErr_Occurred() ? child : Missing(key.get());
}

// A leaf is what is looked for; into a node, the next step goes.
int Cursor::Visit(PyObject* shallow, Ref input, Ref* value) {
  Form form;
  if (!FormOf(shallow, &form)) return -1;
  if (form.keyed) return Push(shallow, form, input.get()) ? 0 : -1;
  *value = std::move(input);
  return 1;
}

int Cursor::Next(Ref* value) {
  if (shallow_) {
    Ref shallow = std::move(shallow_);
    int found = Visit(shallow.get(), std::move(input_), value);
    if (found != 0) return found;
  }
  while (!levels_.empty()) {
    Level& level = levels_.back();
    if (level.next == level.shallow.size()) {
      levels_.pop_back();
      continue;
    }
    Py_ssize_t i = level.next++;
    Ref shallow = Ref::Borrow(level.shallow[i]), input = Ref::Borrow(Find(&level, i));
    int found = input ? Visit(shallow.get(), std::move(input), value) : -1;
    if (found != 0) return found;
  }
  return 0;
}

}  // namespace pax_tree::dm
