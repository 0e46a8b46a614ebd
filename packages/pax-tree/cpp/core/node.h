// What a tree consists of: the kinds of node, and how a registered class is taken apart.
#pragma once

#include <Python.h>

#include <cstdint>

namespace pax_tree {

enum class Kind : uint32_t {  // so wide that a Node has no padding
  kLeaf,
  kNone,
  kTuple,
  kList,
  kDict,
  kNamedTuple,
  kOrderedDict,
  kDefaultDict,
  kDeque,
  kRecord,
  kCustom,
};

inline bool IsDict(Kind kind) {
  return kind == Kind::kDict || kind == Kind::kOrderedDict || kind == Kind::kDefaultDict;
}

// A registered class, an object of its own. The table of registrations holds it, and so does every
// custom node; those of other kinds are in the table for ever.
struct Registration {
  PyObject_HEAD Kind kind;
  bool adopted;                 // taken over from another library's registry
  PyTypeObject* type;           // null for what stands where a class was removed
  PyObject* flatten;            // object -> (children, aux)
  PyObject* unflatten;          // (aux, children) -> object
  PyObject* flatten_with_keys;  // object -> ((key, child) pairs, aux), or null
};

inline PyObject* AsObject(Registration* registration) {
  return reinterpret_cast<PyObject*>(registration);
}

// What nodes that are alike have in common; `data` as in Node, borrowed.
struct NodeType {
  Kind kind;
  Registration* registration;
  PyObject* data;
  Py_ssize_t arity;
};

// What stands at one place of a tree: its kind, and the registration of a custom class.
struct Verdict {
  Kind kind;
  Registration* registration;

  bool Set(Kind new_kind, Registration* new_registration) {
    kind = new_kind;
    registration = new_registration;
    return true;
  }
};

// One node of a treedef. Nodes are stored parent first; a subtree is contiguous.
//   data: kNamedTuple the class, kDict and kOrderedDict a KeyOrder, kDefaultDict (factory,
//   KeyOrder),
//         kDeque maxlen, kRecord the spec, kCustom aux, others null.
struct Node {
  Kind kind;
  uint32_t arity;
  uint32_t num_nodes;
  uint32_t num_leaves;
  PyObject* data;
  Registration* registration;

  NodeType Type() const { return {kind, registration, data, static_cast<Py_ssize_t>(arity)}; }
  // What the node holds besides its data, or null.
  PyObject* Held() const { return kind == Kind::kCustom ? AsObject(registration) : nullptr; }
};

}  // namespace pax_tree
