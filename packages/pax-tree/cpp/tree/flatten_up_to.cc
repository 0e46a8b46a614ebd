// Taking a further tree apart as deep as a first one goes, where its nodes must be like those of
// the first.
#include "core/parts.h"
#include "dict/key_order.h"
#include "support/compat.h"
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

bool IsPlainDict(Kind kind) { return kind == Kind::kDict || kind == Kind::kDefaultDict; }

bool Unlike(Walk* walk, PyObject* object, Kind kind, Registration* registration, PyObject* data,
            Py_ssize_t arity) {
  return walk->Differ("expected " + Describe(kind, registration, data, arity) + ", got " +
                      DescribeObject(object) + ".");
}

// 1, 0, or -1 with an error set.
int SameData(Kind kind, PyObject* a, PyObject* b) {
  if (a == b) return 1;
  if (kind == Kind::kRecord || kind == Kind::kNamedTuple) return 0;
  if (kind == Kind::kOrderedDict) {
    return PyObject_RichCompareBool(AsOrder(a)->sorted, AsOrder(b)->sorted, Py_EQ);
  }
  return PyObject_RichCompareBool(a, b, Py_EQ);
}

// A dict is not sorted again: its values are looked up under the first one's keys.
bool OpenDictAlike(PyObject* dict, Kind kind, PyObject* data, Parts* parts, int* same) {
  parts->source = Ref::Borrow(dict);
  parts->arity = PyDict_GET_SIZE(dict);
  *same = parts->arity == PyTuple_GET_SIZE(AsOrder(OrderObject(kind, data))->sorted);
  if (kind == Kind::kDict || *same == 0) return true;
  Ref factory(PyObject_GetAttrString(dict, "default_factory"));
  if (!factory) return false;
  *same = PyObject_RichCompareBool(PyTuple_GET_ITEM(data, 0), factory.get(), Py_EQ);
  return *same >= 0;
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

}  // namespace

bool OpenAlike(Walk* walk, PyObject* object, Kind kind, Registration* registration, PyObject* data,
               Py_ssize_t arity, Parts* parts) {
  Verdict verdict;
  int same = 1;
  if (!walk->ClassifyType(object, &verdict)) return false;
  if (object == Py_None) verdict.kind = Kind::kNone;  // none_is_leaf speaks of the first tree
  bool same_kind =
      verdict.kind == kind && (kind != Kind::kCustom || verdict.registration == registration);
  if (!same_kind) return Unlike(walk, object, kind, registration, data, arity);
  parts->kind = kind;
  parts->registration = registration;
  if (IsPlainDict(kind)) {
    if (!OpenDictAlike(object, kind, data, parts, &same)) return false;
  } else {
    if (!Open(walk, object, verdict, parts)) return false;
    same = parts->arity == arity ? SameData(kind, data, parts->data.get()) : 0;
  }
  if (same < 0) return false;
  return same == 1 || Unlike(walk, object, kind, registration, data, arity);
}

bool FillAlike(Walk* walk, const Parts& parts, PyObject* data, PyObject** out, Py_ssize_t stride) {
  if (!IsPlainDict(parts.kind)) return Fill(parts, out, stride);
  KeyOrder* order = AsOrder(OrderObject(parts.kind, data));
  if (TakeValues(parts.source.get(), order, out, stride)) return true;
  return FillByKeys(walk, parts.source.get(), order->sorted, out, stride);
}

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
