// The conversions of PyTreeDef to and from those of JAX and PyTorch, which are Python functions.
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

PyObject* Call(const char* module_name, const char* function_name, PyObject* argument) {
  Ref module(PyImport_ImportModule(module_name));
  Ref function(module ? PyObject_GetAttrString(module.get(), function_name) : nullptr);
  return function ? PyObject_CallOneArg(function.get(), argument) : nullptr;
}

}  // namespace

PyObject* TreeDefToJax(PyObject* self, PyObject*) {
  return Call("pax_tree._treedef_jax", "to_jax", self);
}

PyObject* TreeDefFromJax(PyObject*, PyObject* treedef) {
  return Call("pax_tree._treedef_jax", "from_jax", treedef);
}

PyObject* TreeDefToTorch(PyObject* self, PyObject*) {
  return Call("pax_tree._treedef_torch", "to_torch", self);
}

PyObject* TreeDefFromTorch(PyObject*, PyObject* spec) {
  return Call("pax_tree._treedef_torch", "from_torch", spec);
}

}  // namespace pax_tree
