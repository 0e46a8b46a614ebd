// The extension module.
#include <Python.h>

#include "core/keys.h"
#include "core/registry.h"
#include "dict/key_order.h"
#include "dm/dm.h"
#include "record/record.h"
#include "support/arguments.h"
#include "support/compat.h"
#include "support/errors.h"
#include "tree/functions.h"
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

PyMethodDef private_methods[] = {
    {"_register_node", AsMethod(RegisterNode), METH_FASTCALL, nullptr},
    {"_unregister_node", AsMethod(UnregisterNode), METH_FASTCALL, nullptr},
    {"_forwarders", Forwarders, METH_O, nullptr},
    {"_register_leaf_type", RegisterLeafType, METH_O, nullptr},
    {"_set_foreign_lookup", SetForeignLookup, METH_O, nullptr},
    {"_is_registered", IsRegistered, METH_O, nullptr},
    {"_make_spec", AsMethod(MakeSpec), METH_FASTCALL, nullptr},
    {"_make_treedef", MakeTreeDef, METH_O, nullptr},
    {"_with_specs", AsMethod(TreeDefWithSpecs), METH_FASTCALL, nullptr},
    {"_leaves_of_kind", AsMethod(TreeDefLeavesOfKind), METH_FASTCALL, nullptr},
    {"_record_flattener", RecordFlattener, METH_O, nullptr},
    {"_record_rebuild", AsMethod(RecordRebuild), METH_FASTCALL, nullptr},
    {"_set_rebuilders", AsMethod(SetRebuilders), METH_FASTCALL, nullptr},
    {"_leave_unseen", LeaveUnseen, METH_O, nullptr},
    {"_check_record_scope", AsMethod(CheckRecordScope), METH_FASTCALL, nullptr},
    {"_tell_captured", AsMethod(TellCapturedOf), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

bool Init(PyObject* module) {
  return InitDictLayout() && InitKeys(module) && InitKeyOrder() && InitRegistry() &&
         InitTreeDef(module) && InitRecordSpec(module) && InitRecord(module) &&
         AddFunctions(module, "pax_tree", "", flatten_methods) &&
         AddFunctions(module, "pax_tree", "", unflatten_methods) &&
         AddFunctions(module, "pax_tree", "", map_methods) &&
         AddFunctions(module, "pax_tree", "", record_methods) && dm::Init(module) &&
         PyModule_AddFunctions(module, private_methods) == 0;
}

// Types and caches belong to the process, so a second interpreter cannot have them too.
bool InFirstInterpreter() {
  static const int64_t first = PyInterpreterState_GetID(PyInterpreterState_Get());
  if (PyInterpreterState_GetID(PyInterpreterState_Get()) == first) return true;
  return Raise(PyExc_ImportError,
               "pax_tree can be imported in one interpreter of a process only, but this is a "
               "second one (a sub-interpreter); use a process for each interpreter instead.");
}

// A module made after the first, which was taken out of sys.modules, gets what the first one had.
int Execute(PyObject* module) {
  static PyObject* contents = nullptr;
  if (!InFirstInterpreter()) return -1;
  if (contents != nullptr) return PyDict_Update(PyModule_GetDict(module), contents);
  if (!Init(module)) return -1;
  contents = PyDict_Copy(PyModule_GetDict(module));
  return contents == nullptr ? -1 : 0;
}

PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(Execute)},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, nullptr},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    "pax_tree._C",
    "The compiled core of pax_tree.",
    0,
    nullptr,
    module_slots,
    nullptr,
    nullptr,
    nullptr,
};

}  // namespace
}  // namespace pax_tree

PyMODINIT_FUNC PyInit__C() { return PyModuleDef_Init(&pax_tree::definition); }
