// The module's functions on trees.
#pragma once

#include <Python.h>

namespace pax_tree {

extern PyMethodDef flatten_methods[];
extern PyMethodDef unflatten_methods[];
extern PyMethodDef map_methods[];

}  // namespace pax_tree
