// Copying a structure with other leaves, in one pass.
#pragma once

#include "pax_tree/dm.h"

namespace pax_tree::dm {

// Visits the leaves of some structures side by side, and builds one like the first. A column is
// one object of each, borrowed, with a free slot before it.
class Rebuild {
 public:
  Rebuild(const char* function, Py_ssize_t count, bool same_keys)
      : function_(function), count_(count), same_keys_(same_keys) {}
  virtual ~Rebuild() = default;
  PyObject* Column(PyObject** column);

 protected:
  virtual PyObject* Leaf(PyObject** column) = 0;
  const char* function_;
  Py_ssize_t count_;

 private:
  PyObject* Node(PyObject** column, Form form);
  PyObject* Dict(PyObject** column);
  PyObject* Sequence(PyObject** column, bool tuple);
  PyObject* Other(PyObject** column, Form form);
  bool OpenRest(PyObject** column, Py_ssize_t size, Slots* rest);
  bool OpenOne(PyObject* object, Py_ssize_t size, PyObject** out);
  PyObject* Child(PyObject* value, PyObject* key, Py_ssize_t i, Slots* rest);
  bool Replace(PyObject* dict, PyObject* key, PyObject* value, Py_ssize_t i, Slots* rest);
  bool ReplaceAll(PyObject* dict, const SortedKeys& sorted, Slots* rest);
  PyObject* Changed(PyObject* node);

  bool same_keys_;  // dicts were seen to have the same keys
  int depth_ = 0;
};

}  // namespace pax_tree::dm
