// Copying a structure with other leaves, in one pass.
#pragma once

#include "dm/dm.h"
#include "core/node.h"

namespace pax_tree::dm {

// Visits the leaves of some structures side by side, and builds one like the first. A column is
// one object of each, held by the caller, with a slot before it.
class Rebuild {
 public:
  Rebuild(const char* function, Py_ssize_t count) : function_(function), count_(count) {}
  virtual ~Rebuild() = default;
  PyObject* Column(PyObject** column) {
    Form form;
    if (!FormOf(column[0], &form)) return nullptr;
    return form.nested ? Node(column, form) : Leaf(column);
  }

 protected:
  virtual PyObject* Leaf(PyObject** column) = 0;
  const char* function_;
  Py_ssize_t count_;

 private:
  PyObject* Node(PyObject** column, Form form);
  PyObject* Plain(PyObject** column, Kind kind);
  PyObject* Other(PyObject** column, Form form);
  bool TakeRest(PyObject** column, PyObject* order, Py_ssize_t size, PyObject** slots);
  bool TakeOne(PyObject* object, PyObject* order, Py_ssize_t size, PyObject** out);
  bool ReplaceAll(Py_ssize_t size, PyObject** slots);

  Depth depth_;
};

}  // namespace pax_tree::dm
