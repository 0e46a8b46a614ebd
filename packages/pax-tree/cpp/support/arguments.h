// Reading the arguments of functions called by vectorcall.
#pragma once

#include <Python.h>

#include "core/walk.h"

namespace pax_tree {

// One named parameter and where its value goes (borrowed; unchanged when not given).
struct Parameter {
  const char* name;
  PyObject** value;
};

// Gives the first `positional` parameters the positional arguments, and all of them the keywords.
// Arguments beyond those are left to the caller when `variadic`. False with TypeError set.
bool ReadArguments(const char* function, PyObject* const* args, Py_ssize_t nargs, PyObject* names,
                   Parameter* parameters, int count, int positional, int required, bool variadic);

// The options of a walk from the values of the keywords (null where not given).
bool ReadOptions(PyObject* is_leaf, PyObject* none_is_leaf, PyObject* takes_path, Options* options);

}  // namespace pax_tree
