// The extension module.
#include <pybind11/pybind11.h>

#include "pax_tree/dict_entries.h"
#include "pax_tree/dm.h"
#include "pax_tree/functions.h"
#include "pax_tree/key_order.h"
#include "pax_tree/keys.h"
#include "pax_tree/record.h"
#include "pax_tree/registry.h"
#include "pax_tree/treedef.h"

namespace pax_tree {
namespace {

PyMethodDef private_methods[] = {
    {"_register_node", FastCall(RegisterNode), METH_FASTCALL, nullptr},
    {"_unregister_node", UnregisterNode, METH_O, nullptr},
    {"_forwarders", Forwarders, METH_O, nullptr},
    {"_register_leaf_type", RegisterLeafType, METH_O, nullptr},
    {"_set_foreign_lookup", SetForeignLookup, METH_O, nullptr},
    {"_is_registered", IsRegistered, METH_O, nullptr},
    {"_make_spec", FastCall(MakeSpec), METH_FASTCALL, nullptr},
    {"_make_treedef", MakeTreeDef, METH_O, nullptr},
    {"_record_flattener", RecordFlattener, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

// Adds functions that say that they are of the package, so that help, doctest and pickle find them.
bool AddPublic(PyObject* module, PyMethodDef* methods) {
  Ref package(PyUnicode_FromString("pax_tree"));
  for (; package && methods->ml_name != nullptr; ++methods) {
    Ref function(PyCFunction_NewEx(methods, module, package.get()));
    if (!function || PyModule_AddObjectRef(module, methods->ml_name, function.get()) < 0)
      return false;
  }
  return static_cast<bool>(package);
}

bool Init(PyObject* module) {
  return InitDictEntries() && InitKeys(module) && InitKeyOrder() && InitRegistry() &&
         InitTreeDef(module) && InitRecordSpec(module) && InitRecord(module) &&
         AddPublic(module, flatten_methods) && AddPublic(module, unflatten_methods) &&
         AddPublic(module, path_methods) && AddPublic(module, map_methods) &&
         AddPublic(module, record_methods) && dm::Init(module) &&
         PyModule_AddFunctions(module, private_methods) == 0;
}

}  // namespace
}  // namespace pax_tree

PYBIND11_MODULE(_C, m) {
  m.doc() = "The compiled core of pax_tree.";
  if (!pax_tree::Init(m.ptr())) throw pybind11::error_already_set();
}
