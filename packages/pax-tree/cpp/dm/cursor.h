// Walking a structure as deep as another one goes, leaf by leaf.
#pragma once

#include "dm/dm.h"

namespace pax_tree::dm {

// Where the shallow structure has leaves, one after the other: what the input structure has there.
// Nodes are opened as late as possible.
class Cursor {
 public:
  Cursor(const char* function, PyObject* shallow, PyObject* input)
      : function_(function), shallow_(Ref::Borrow(shallow)), input_(Ref::Borrow(input)) {}
  // Moves on; 1 with a `value`, 0 at the end, -1 with an error set.
  int Next(Ref* value);
  // The path of the present leaf.
  PyObject* Path() const;

 private:
  struct Level {
    Children shallow, input;
    Ref by_key;  // the input's children, made when they do not stand at the same places
    Py_ssize_t next = 0;
  };
  int Visit(PyObject* shallow, Ref input, Ref* value);
  bool Push(PyObject* shallow, Form form, PyObject* input);
  bool OpenInput(PyObject* object, Children* children);
  PyObject* Find(Level* level, Py_ssize_t i);
  PyObject* Missing(PyObject* key);

  const char* function_;
  Ref shallow_, input_;  // until the first step
  std::vector<Level> levels_;
};

}  // namespace pax_tree::dm
