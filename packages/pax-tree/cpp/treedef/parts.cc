// What a treedef is made of: children, the data of the root, paths; and composition.
#include "core/parts.h"

#include "dict/key_order.h"
#include "record/spec.h"
#include "support/errors.h"
#include "support/sequence.h"
#include "treedef/treedef.h"

namespace pax_tree {
PyObject* TreeDefChildren(PyObject* self, PyObject*) {
  const Node* root = Nodes(self);
  const Node* next = root + 1;
  return MakeList(root->arity, [&next](Py_ssize_t) {
    const Node* child = std::exchange(next, next + next->num_nodes);
    return TreeDefOfNodes(child, child->num_nodes);
  });
}

PyTypeObject* ClassOf(const Node& node) {
  if (node.kind == Kind::kNone) return Py_TYPE(Py_None);
  if (node.kind == Kind::kNamedTuple) return reinterpret_cast<PyTypeObject*>(node.data);
  if (node.kind == Kind::kRecord) return AsSpec(node.data)->cls;
  return node.registration->type;
}

PyObject* StaticData(const Node& node) {
  switch (node.kind) {
    case Kind::kDict: return PySequence_List(AsOrder(node.data)->sorted);
    case Kind::kOrderedDict: return Py_NewRef(AsOrder(node.data)->sorted);
    case Kind::kDefaultDict:
      return PyTuple_Pack(2, PyTuple_GET_ITEM(node.data, 0),
                          AsOrder(PyTuple_GET_ITEM(node.data, 1))->sorted);
    case Kind::kDeque:
    case Kind::kRecord:
    case Kind::kCustom: return Py_NewRef(node.data);
    default: return Py_NewRef(Py_None);
  }
}

PyObject* TreeDefNodeData(PyObject* self, PyObject*) {
  const Node* root = Nodes(self);
  if (root->kind == Kind::kLeaf) Py_RETURN_NONE;
  Ref data(StaticData(*root));
  return data ? PyTuple_Pack(2, ClassOf(*root), data.get()) : nullptr;
}

PyObject* TreeDefCompose(PyObject* self, PyObject* inner) {
  if (!Py_IS_TYPE(inner, treedef_type)) {
    return Raise(PyExc_TypeError, "compose takes a PyTreeDef, but got an object of type %s.",
                 Py_TYPE(inner)->tp_name);
  }
  const Node* node = Nodes(self);
  size_t inner_size = Py_SIZE(inner), inner_leaves = Nodes(inner)->num_leaves;
  NodeList nodes;
  for (Py_ssize_t i = 0; i < Py_SIZE(self); ++i, ++node) {
    if (node->kind == Kind::kLeaf) {
      if (!nodes.AddCopies(Nodes(inner), inner_size)) return nullptr;
      continue;
    }
    size_t at = nodes.size();
    if (!nodes.AddCopies(node, 1)) return nullptr;
    size_t leaves = node->num_leaves;
    nodes[at].num_nodes = static_cast<uint32_t>(node->num_nodes + leaves * (inner_size - 1));
    nodes[at].num_leaves = static_cast<uint32_t>(leaves * inner_leaves);
  }
  return nodes.Finish();
}

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
  Ref object(Build(node.Type(), placeholders.data()));
  Parts parts;
  if (!object || !OpenCustom(node.registration, object.get(), true, &parts)) return false;
  if (parts.arity == static_cast<Py_ssize_t>(node.arity)) {
    *keys = std::move(parts.keys);
    return true;
  }
  return Raise(PyExc_ValueError,
               "The flatten-with-keys function of %s must return %u (key, child) pairs, as many as "
               "its flatten function returned children, but returned %zd.",
               node.registration->type->tp_name, node.arity, parts.arity);
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
