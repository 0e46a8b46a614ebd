// Equality and hash of treedefs.
#include <cstring>
#include <type_traits>

#include "core/parts.h"
#include "dict/key_order.h"
#include "record/spec.h"
#include "support/errors.h"
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

PyObject* SortedKeys(const Node& node) {
  return AsOrder(OrderObject(node.kind, node.data))->sorted;
}

// Most pairs of nodes are leaves, or made of the same objects.
bool AreSame(const Node& a, const Node& b) {
  static_assert(std::has_unique_object_representations_v<Node>);
  return std::memcmp(&a, &b, sizeof(Node)) == 0;
}

int SameTreeDef(PyObject* a, PyObject* b) {
  if (a == b) return 1;
  if (Py_SIZE(a) != Py_SIZE(b) || Nodes(a)->num_leaves != Nodes(b)->num_leaves) return 0;
  const Node *first = Nodes(a), *second = Nodes(b), *end = first + Py_SIZE(a);
  for (; first != end; ++first, ++second) {
    if (AreSame(*first, *second)) continue;
    int same = first->num_nodes == second->num_nodes ? SameTypes(first->Type(), second->Type()) : 0;
    if (same != 1) return same;
  }
  return 1;
}

// The hash of a node's data. Static data of a class that has none does not count, as JAX counts
// none.
Py_hash_t HashData(const Node& node) {
  if (node.data == nullptr) return 0;
  if (IsDict(node.kind)) return PyObject_Hash(SortedKeys(node));
  Py_hash_t hash = PyObject_Hash(node.data);
  if (hash != -1 || node.kind != Kind::kCustom || !PyErr_ExceptionMatches(PyExc_TypeError))
    return hash;
  PyErr_Clear();
  return 0;
}

}  // namespace

int SameTypes(const NodeType& a, const NodeType& b) {
  if (a.kind != b.kind || a.arity != b.arity) return 0;
  if (a.kind == Kind::kCustom && a.registration != b.registration) return 0;
  if (a.data == b.data) return 1;
  if (a.kind == Kind::kRecord || a.kind == Kind::kNamedTuple) return 0;
  PyObject *first = a.data, *second = b.data;
  if (a.kind == Kind::kDefaultDict) {
    int same =
        PyObject_RichCompareBool(PyTuple_GET_ITEM(first, 0), PyTuple_GET_ITEM(second, 0), Py_EQ);
    if (same != 1) return same;
  }
  if (IsDict(a.kind)) {
    first = AsOrder(OrderObject(a.kind, first))->sorted;
    second = AsOrder(OrderObject(b.kind, second))->sorted;
  }
  return PyObject_RichCompareBool(first, second, Py_EQ);
}

PyObject* TreeDefCompare(PyObject* a, PyObject* b, int op) {
  bool comparable = Py_IS_TYPE(a, treedef_type) && Py_IS_TYPE(b, treedef_type);
  if (!comparable || (op != Py_EQ && op != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
  int same = SameTreeDef(a, b);
  return same < 0 ? nullptr : PyBool_FromLong(same == (op == Py_EQ ? 1 : 0));
}

Py_hash_t TreeDefHash(PyObject* self) {
  Py_uhash_t hash = 0x345678;
  for (Py_ssize_t i = 0; i < Py_SIZE(self); ++i) {
    const Node& node = Nodes(self)[i];
    Py_hash_t data = HashData(node);
    if (data == -1) return -1;
    Py_uhash_t own = static_cast<Py_uhash_t>(data) * 31 + static_cast<Py_uhash_t>(node.kind);
    if (node.kind == Kind::kCustom) own ^= reinterpret_cast<Py_uhash_t>(node.registration) >> 4;
    hash = (hash ^ (own * 31 + node.arity)) * static_cast<Py_uhash_t>(1000003);
  }
  return hash == static_cast<Py_uhash_t>(-1) ? -2 : static_cast<Py_hash_t>(hash);
}

}  // namespace pax_tree
