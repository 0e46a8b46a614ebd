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

// A registered class. Registrations live as long as the process.
struct Registration {
  Kind kind = Kind::kLeaf;
  bool adopted = false;  // taken over from another library's registry
  PyTypeObject* type = nullptr;
  PyObject* flatten = nullptr;            // object -> (children, aux)
  PyObject* unflatten = nullptr;          // (aux, children) -> object
  PyObject* flatten_with_keys = nullptr;  // object -> ((key, child) pairs, aux), or null
};

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

  NodeType Type() const { return {kind, registration, data, arity}; }
};

}  // namespace pax_tree
