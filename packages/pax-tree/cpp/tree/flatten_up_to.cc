// PyTreeDef.flatten_up_to.
#include "core/parts.h"
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

bool Collect(Walk* walk, const Node* node, PyObject* tree, PyObject* leaves);

bool CollectChildren(Walk* walk, const Node* node, PyObject* tree, Slots* children,
                     PyObject* leaves) {
  const Node* child = node + 1;
  for (uint32_t i = 0; i < node->arity; ++i, child += child->num_nodes) {
    if (Collect(walk, child, (*children)[i], leaves)) continue;
    if (walk->differs) {
      walk->AddPlace(ChildKeyOf(tree, node->kind, node->registration, node->data, i));
    }
    return false;
  }
  return true;
}

// Adds the subtrees of `tree` under the leaves of `node` to a list.
bool Collect(Walk* walk, const Node* node, PyObject* tree, PyObject* leaves) {
  if (node->kind == Kind::kLeaf) return PyList_Append(leaves, tree) == 0;
  DepthGuard guard(&walk->depth);
  if (!guard) return false;
  Parts parts;
  Slots children;
  if (!OpenAlike(walk, tree, node->kind, node->registration, node->data, node->arity, &parts)) {
    return false;
  }
  if (!children.Allocate(node->arity)) return false;
  if (!FillAlike(walk, parts, node->data, children.data(), 1)) return false;
  return CollectChildren(walk, node, tree, &children, leaves);
}

}  // namespace

PyObject* TreeDefFlattenUpTo(PyObject* self, PyObject* tree) {
  Walk walk("flatten_up_to");
  Ref leaves(PyList_New(0));
  if (leaves && Collect(&walk, Nodes(self), tree, leaves.get())) return leaves.release();
  walk.RaiseDifference();
  return nullptr;
}

}  // namespace pax_tree
