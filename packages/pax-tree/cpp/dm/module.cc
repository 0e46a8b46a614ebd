// The functions that follow dm-tree, in the extension module.
#include "dm/dm.h"

namespace pax_tree::dm {
namespace {

// They say that they are of `pax_tree.dm`, and stand here with "dm_" before their names.
bool Add(PyObject* module, PyObject* package, PyMethodDef* methods) {
  for (; methods->ml_name != nullptr; ++methods) {
    Ref function(PyCFunction_NewEx(methods, module, package));
    std::string name = std::string("dm_") + methods->ml_name;
    if (!function || PyModule_AddObjectRef(module, name.c_str(), function.get()) < 0) return false;
  }
  return true;
}

bool AddMapToNone(PyObject* module) {
  map_to_none = PyObject_CallNoArgs(reinterpret_cast<PyObject*>(&PyBaseObject_Type));
  return map_to_none != nullptr &&
         PyModule_AddObjectRef(module, "dm_MAP_TO_NONE", map_to_none) == 0;
}

}  // namespace

bool Init(PyObject* module) {
  Ref package(PyUnicode_FromString("pax_tree.dm"));
  if (!package || !InitForms() || !AddMapToNone(module)) return false;
  for (PyMethodDef* methods :
       {flatten_methods, map_methods, compare_methods, up_to_methods, traverse_methods}) {
    if (!Add(module, package.get(), methods)) return false;
  }
  return true;
}

}  // namespace pax_tree::dm
