// Taking a further tree apart as deep as a first one goes, where its nodes must be like those of
// the first.
#include "core/parts.h"
#include "dict/key_order.h"
#include "support/compat.h"
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

bool IsPlainDict(Kind kind) { return kind == Kind::kDict || kind == Kind::kDefaultDict; }

bool Unlike(Walk* walk, PyObject* object, const NodeType& like) {
  return walk->Differ("expected " + Describe(like) + ", got " + DescribeObject(object) + ".");
}

// Whether a dict has as many keys, and the same factory if it has one. 1, 0, or -1 with an error
// set. It is not sorted: its values are looked up under the keys of the other.
int SameDict(PyObject* dict, const NodeType& like) {
  if (PyDict_GET_SIZE(dict) != like.arity) return 0;
  if (like.kind == Kind::kDict) return 1;
  Ref factory(PyObject_GetAttrString(dict, "default_factory"));
  if (!factory) return -1;
  return PyObject_RichCompareBool(PyTuple_GET_ITEM(like.data, 0), factory.get(), Py_EQ);
}

std::string KeysOf(PyObject* dict) {
  Ref keys(PyDict_Keys(dict));
  return keys ? SafeRepr(keys.get()) : "?";
}

bool FillByKeys(Walk* walk, PyObject* dict, PyObject* keys, PyObject** out, Py_ssize_t stride) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(keys); ++i) {
    PyObject* key = PyTuple_GET_ITEM(keys, i);
    PyObject* value = LookUp(dict, key);
    if (value == nullptr && PyErr_Occurred()) return false;
    if (value == nullptr) {
      return walk->Differ("expected a dict with the key " + SafeRepr(key) +
                          ", got one with the keys " + KeysOf(dict) + ".");
    }
    out[i * stride] = value;
  }
  return true;
}

bool FillDict(Walk* walk, PyObject* dict, const NodeType& like, PyObject** out, Py_ssize_t stride) {
  KeyOrder* order = AsOrder(OrderObject(like.kind, like.data));
  return TakeValues(dict, order, out, stride) || FillByKeys(walk, dict, order->sorted, out, stride);
}

bool Collect(Walk* walk, const Node* node, PyObject* tree, PyObject* leaves);

bool CollectChildren(Walk* walk, const Node* node, PyObject* tree, Slots* children,
                     PyObject* leaves) {
  const Node* child = node + 1;
  for (uint32_t i = 0; i < node->arity; ++i, child += child->num_nodes) {
    if (Collect(walk, child, (*children)[i], leaves)) continue;
    if (walk->differs) walk->AddPlace(ChildKeyOf(tree, node->Type(), i));
    return false;
  }
  return true;
}

// Adds the subtrees of `tree` under the leaves of `node` to a list.
bool Collect(Walk* walk, const Node* node, PyObject* tree, PyObject* leaves) {
  if (node->kind == Kind::kLeaf) return PyList_Append(leaves, tree) == 0;
  DepthGuard guard(&walk->depth);
  if (!guard) return false;
  Slots children;
  if (!children.Allocate(node->arity)) return false;
  if (!OpenAlike(walk, tree, node->Type(), children.data(), 1)) return false;
  return CollectChildren(walk, node, tree, &children, leaves);
}

}  // namespace

bool OpenAlike(Walk* walk, PyObject* object, const NodeType& like, PyObject** out,
               Py_ssize_t stride) {
  Verdict verdict;
  Parts parts;
  if (!walk->ClassifyType(object, &verdict)) return false;
  if (object == Py_None) verdict.kind = Kind::kNone;  // none_is_leaf speaks of the first tree
  bool same_kind = verdict.kind == like.kind &&
                   (like.kind != Kind::kCustom || verdict.registration == like.registration);
  if (!same_kind) return Unlike(walk, object, like);
  bool dict = IsPlainDict(like.kind);
  if (!dict && !Open(walk, object, verdict, &parts)) return false;
  int same = dict ? SameDict(object, like) : SameTypes(like, parts.Type());
  if (same != 1) return same == 0 && Unlike(walk, object, like);
  return dict ? FillDict(walk, object, like, out, stride) : Fill(parts, out, stride);
}

PyObject* TreeDefFlattenUpTo(PyObject* self, PyObject* tree) {
  Walk walk("flatten_up_to");
  Ref leaves(PyList_New(0));
  if (leaves && Collect(&walk, Nodes(self), tree, leaves.get())) return leaves.release();
  walk.RaiseDifference();
  return nullptr;
}

}  // namespace pax_tree
