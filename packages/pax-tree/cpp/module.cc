// The extension module.
#include <pybind11/pybind11.h>

#include "pax_tree/functions.h"
#include "pax_tree/key_order.h"
#include "pax_tree/keys.h"
#include "pax_tree/record.h"
#include "pax_tree/registry.h"
#include "pax_tree/treedef.h"

namespace pax_tree {
namespace {

PyCFunction Fast(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function));
}

PyMethodDef record_methods[] = {
    {"record_flatten", RecordFlatten, METH_O,
     "record_flatten(record)\n--\n\nThe pair (tuple of children, RecordSpec) of a record."},
    {"record_unflatten", Fast(RecordUnflatten), METH_FASTCALL,
     "record_unflatten(spec, children)\n--\n\nA record of this spec, without running __init__.\n\n"
     "Raises ValueError when the number of children is not that of the spec."},
    {"record_spec", RecordSpecOf, METH_O, "record_spec(record)\n--\n\nThe spec of a record."},
    {"record_set", Fast(RecordSet), METH_FASTCALL,
     "record_set(record, name, value, kind)\n--\n\nSets an attribute as a child of this kind (0 to "
     "255), or as static (None).\n\nThe class is not asked, the scope is checked."},
    {"record_with_spec", Fast(RecordWithSpec), METH_FASTCALL,
     "record_with_spec(record, spec)\n--\n\nA record with the same children and another spec."},
    {"set_scope_hook", SetScopeHook, METH_O,
     "set_scope_hook(hook)\n--\n\nSets the function that says in which scope the program is; "
     "returns "
     "the one before.\n\nIt returns None at top level, else an object that stands for the present "
     "trace. A record can be\nwritten only in the scope in which it was made."},
    {nullptr, nullptr, 0, nullptr},
};

PyMethodDef private_methods[] = {
    {"_register_node", Fast(RegisterNode), METH_FASTCALL, nullptr},
    {"_register_leaf_type", RegisterLeafType, METH_O, nullptr},
    {"_set_foreign_lookup", SetForeignLookup, METH_O, nullptr},
    {"_is_registered", IsRegistered, METH_O, nullptr},
    {"_make_spec", Fast(MakeSpec), METH_FASTCALL, nullptr},
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
  return InitKeys(module) && InitKeyOrder() && InitRegistry() && InitTreeDef(module) &&
         InitRecordSpec(module) && InitRecord(module) && AddPublic(module, flatten_methods) &&
         AddPublic(module, path_methods) && AddPublic(module, map_methods) &&
         AddPublic(module, record_methods) && PyModule_AddFunctions(module, private_methods) == 0;
}

}  // namespace
}  // namespace pax_tree

PYBIND11_MODULE(_C, m) {
  m.doc() = "The compiled core of pax_tree.";
  if (!pax_tree::Init(m.ptr())) throw pybind11::error_already_set();
}
