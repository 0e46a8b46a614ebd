// PyTreeDef.paths: the key path of every leaf.
#include "core/parts.h"
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

struct Paths {
  Walk walk{"paths"};
  Ref list;
  const Node* node;  // the next one to visit
};

// Only a class itself knows the names of its children: one node is made, with placeholders as
// children, and asked for them.
bool KeysOfCustom(const Node& node, Ref* keys) {
  Slots placeholders;
  if (!placeholders.Allocate(node.arity)) return false;
  for (uint32_t i = 0; i < node.arity; ++i) {
    PyObject* placeholder = PyObject_CallNoArgs(reinterpret_cast<PyObject*>(&PyBaseObject_Type));
    if (placeholder == nullptr) return false;
    placeholders[i] = placeholder;
  }
  Ref object(Build(node.kind, node.registration, node.data, placeholders.data(), node.arity));
  Parts parts;
  if (!object || !OpenCustom(node.registration, object.get(), true, &parts)) return false;
  if (parts.arity == static_cast<Py_ssize_t>(node.arity)) {
    *keys = std::move(parts.keys);
    return true;
  }
  PyErr_Format(PyExc_ValueError,
               "The flatten-with-keys function of %s must return %u (key, child) pairs, as many as "
               "its flatten function returned children, but returned %zd.",
               node.registration->type->tp_name, node.arity, parts.arity);
  return false;
}

bool AddPaths(Paths* paths);

bool AddPathsBelow(Paths* paths, const Node& node) {
  DepthGuard guard(&paths->walk.depth);
  Ref keys;
  if (!guard) return false;
  bool named = node.kind == Kind::kCustom && node.registration->flatten_with_keys != nullptr;
  if (named && !KeysOfCustom(node, &keys)) return false;
  for (uint32_t i = 0; i < node.arity; ++i) {
    if (!paths->walk.path.Push(ChildKey(node.kind, node.data, keys.get(), i))) return false;
    bool done = AddPaths(paths);
    paths->walk.path.Pop();
    if (!done) return false;
  }
  return true;
}

bool AddPaths(Paths* paths) {
  const Node& node = *paths->node++;
  if (node.kind != Kind::kLeaf) return AddPathsBelow(paths, node);
  Ref path(paths->walk.path.Tuple());
  return path && PyList_Append(paths->list.get(), path.get()) == 0;
}

}  // namespace

PyObject* TreeDefPaths(PyObject* self, PyObject*) {
  Paths paths;
  paths.list = Ref(PyList_New(0));
  paths.node = Nodes(self);
  return paths.list && AddPaths(&paths) ? paths.list.release() : nullptr;
}

}  // namespace pax_tree
