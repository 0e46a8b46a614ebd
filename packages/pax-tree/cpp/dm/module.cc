// The functions that follow dm-tree, in the extension module.
#include "dm/dm.h"
#include "support/arguments.h"

namespace pax_tree::dm {
namespace {

bool AddMapToNone(PyObject* module) {
  map_to_none = PyObject_CallNoArgs(reinterpret_cast<PyObject*>(&PyBaseObject_Type));
  return map_to_none != nullptr &&
         PyModule_AddObjectRef(module, "dm_MAP_TO_NONE", map_to_none) == 0;
}

}  // namespace

bool Init(PyObject* module) {
  if (!InitForms() || !AddMapToNone(module)) return false;
  for (PyMethodDef* methods :
       {flatten_methods, map_methods, compare_methods, up_to_methods, traverse_methods}) {
    if (!AddFunctions(module, "pax_tree.dm", "dm_", methods)) return false;
  }
  return true;
}

}  // namespace pax_tree::dm
