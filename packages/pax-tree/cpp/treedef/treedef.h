// PyTreeDef: the structure of a tree, its nodes parent first in one array.
#pragma once

#include "core/node.h"
#include "support/ref.h"
#include "support/stack.h"

namespace pax_tree {

struct TreeDef {
  PyObject_VAR_HEAD  // ob_size is the number of nodes
      PyObject* weakrefs;
  Node nodes[1];
};

extern PyTypeObject* treedef_type;

inline TreeDef* AsTreeDef(PyObject* object) { return reinterpret_cast<TreeDef*>(object); }
inline const Node* Nodes(PyObject* treedef) { return AsTreeDef(treedef)->nodes; }

// Collects the nodes of a treedef to come; owns their data until `Finish`.
class NodeList {
 public:
  NodeList() = default;
  NodeList(const NodeList&) = delete;
  ~NodeList() { Release(); }

  size_t size() const { return nodes_.size(); }
  Node& operator[](size_t i) { return nodes_[i]; }
  // Adds a node (stealing `data`), of which the counts are set when its children are there.
  bool Add(Kind kind, Py_ssize_t arity, PyObject* data, Registration* registration) {
    Node* node = nodes_.Reserve(1);
    if (node == nullptr) {
      Py_XDECREF(data);
      return false;
    }
    uint32_t leaves = kind == Kind::kLeaf ? 1 : 0;
    *node = {kind, static_cast<uint32_t>(arity), 1, leaves, data, registration};
    Py_XINCREF(node->Held());
    nodes_.Resize(nodes_.size() + 1);
    return true;
  }
  bool AddLeaves(size_t count) {
    Node* node = nodes_.Reserve(count);
    if (node == nullptr) return false;
    for (size_t i = 0; i < count; ++i) node[i] = {Kind::kLeaf, 0, 1, 1, nullptr, nullptr};
    nodes_.Resize(nodes_.size() + count);
    return true;
  }
  // Adds copies of nodes.
  bool AddCopies(const Node* first, size_t count);
  // Sets the counts of the node at `at` from the nodes that follow it and `leaves` under it.
  bool Close(size_t at, size_t leaves) {
    nodes_[at].num_nodes = static_cast<uint32_t>(nodes_.size() - at);
    nodes_[at].num_leaves = static_cast<uint32_t>(leaves);
    return true;
  }
  // The treedef; an error if there are more nodes than a treedef counts.
  PyObject* Finish();

 private:
  void Release();
  Stack<Node, 24> nodes_;
};

// The class of a node, and its static data in the form in which JAX shows it.
PyTypeObject* ClassOf(const Node& node);
PyObject* StaticData(const Node& node);
// The treedef of `count` nodes, as new references.
PyObject* TreeDefOfNodes(const Node* first, size_t count);
// Walks over a treedef, in their own files.
PyObject* TreeDefRepr(PyObject* self);
PyObject* TreeDefCompare(PyObject* a, PyObject* b, int op);
Py_hash_t TreeDefHash(PyObject* self);
PyObject* TreeDefUnflatten(PyObject* self, PyObject* leaves);
PyObject* TreeDefFlattenUpTo(PyObject* self, PyObject* tree);
PyObject* TreeDefCompose(PyObject* self, PyObject* inner);
PyObject* TreeDefReduce(PyObject* self, PyObject* unused);
PyObject* TreeDefChildren(PyObject* self, PyObject* unused);
PyObject* TreeDefNodeData(PyObject* self, PyObject* unused);
PyObject* TreeDefPaths(PyObject* self, PyObject* unused);
PyObject* TreeDefWalk(PyObject* self, PyObject* const* args, Py_ssize_t nargs);
PyObject* TreeDefFromParts(PyObject* type, PyObject* const* args, Py_ssize_t nargs);
PyObject* MakeTreeDef(PyObject* module, PyObject* state);
PyObject* TreeDefWithSpecs(PyObject* module, PyObject* const* args, Py_ssize_t nargs);
PyObject* TreeDefLeavesOfKind(PyObject* module, PyObject* const* args, Py_ssize_t nargs);

bool InitTreeDef(PyObject* module);

}  // namespace pax_tree
