// PyTreeDef: the structure of a tree, its nodes parent first in one array.
#pragma once

#include <vector>

#include "pax_tree/node.h"
#include "pax_tree/ref.h"
#include "pax_tree/scratch.h"

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
  NodeList() : nodes_(Scratch<Node>::Take()) {}
  NodeList(const NodeList&) = delete;
  ~NodeList() {
    Release();
    Scratch<Node>::GiveBack(&nodes_);
  }

  size_t size() const { return nodes_.size(); }
  Node& operator[](size_t i) { return nodes_[i]; }
  // Adds a node (stealing `data`), of which the counts are set when its children are there.
  bool Add(Kind kind, Py_ssize_t arity, PyObject* data, Registration* registration);
  // Adds copies of nodes.
  bool AddCopies(const Node* first, size_t count);
  // Sets the counts of the node at `at` from the nodes that follow it and `leaves` under it.
  bool Close(size_t at, size_t leaves);
  PyObject* Finish();

 private:
  void Release();
  std::vector<Node> nodes_;
};

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
PyObject* MakeTreeDef(PyObject* module, PyObject* state);

bool InitTreeDef(PyObject* module);

}  // namespace pax_tree
