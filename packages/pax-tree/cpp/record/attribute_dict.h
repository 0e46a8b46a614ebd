// The `__dict__` of a record, which is only read.
#pragma once

#include "support/ref.h"

namespace pax_tree {

// A copy of a dict of attributes that refuses to be changed. Null with an error set.
PyObject* NewAttributeDict(PyObject* attributes);

bool InitAttributeDict();

}  // namespace pax_tree
