// Taking a node apart and putting it together.
#pragma once

#include "core/plain.h"
#include "core/walk.h"
#include "support/ref.h"

namespace pax_tree {

// A node taken apart: what it is, and where its children are.
struct Parts {
  Kind kind = Kind::kLeaf;
  Registration* registration = nullptr;
  Py_ssize_t arity = 0;
  Ref held;    // the registration of a custom node
  Ref data;    // as in Node
  Ref source;  // holds the children: a tuple or list, or the dict itself
  Ref keys;    // the path keys of a custom node, when the walk is with paths

  NodeType Type() const { return {kind, registration, data.get(), arity}; }
};

// Takes `object` apart. False with an error set.
bool Open(Walk* walk, PyObject* object, Verdict verdict, Parts* parts);
// Writes new references to the children to out[0], out[stride], ...
bool Fill(const Parts& parts, PyObject** out, Py_ssize_t stride);
// Both at once, the plain kinds without detours: puts the children into slots 0, stride, ...
template <Py_ssize_t kInline>
bool OpenChildren(Walk* walk, PyObject* object, Verdict verdict, Py_ssize_t stride, Parts* parts,
                  SlotArray<kInline>* slots) {
  if (!IsPlain(verdict.kind)) {
    return Open(walk, object, verdict, parts) && slots->Allocate(parts->arity * stride) &&
           Fill(*parts, slots->data(), stride);
  }
  parts->kind = verdict.kind;
  parts->registration = verdict.registration;
  parts->arity = PlainSize(object, verdict.kind);
  if (!slots->Allocate(parts->arity * stride)) return false;
  PyObject* data = nullptr;
  bool taken = TakePlain(object, parts->kind, parts->arity, slots->data(), stride, &data);
  parts->data = Ref(data);
  return taken;
}

// The same for a node that must be alike; the children are in the order of `like`. False with an
// error or a difference set.
bool OpenAlike(Walk* walk, PyObject* object, const NodeType& like, PyObject** out,
               Py_ssize_t stride);

// Puts a node together; takes the children out of `items`.
PyObject* Build(const NodeType& type, PyObject** items);

// Whether nodes are alike: 1, 0, or -1 with an error set. The order in which a dict was filled does
// not count.
Py_NO_INLINE int SameTypes(const NodeType& a, const NodeType& b);

// The path key of a child, a new reference. `keys` is that of Parts.
PyObject* ChildKey(Kind kind, PyObject* data, PyObject* keys, Py_ssize_t child);
// The same while reporting a difference: asks the object's class for its keys; null if it has none.
PyObject* ChildKeyOf(PyObject* object, const NodeType& type, Py_ssize_t child);

// The KeyOrder of a dict-like node's data.
PyObject* OrderObject(Kind kind, PyObject* data);

// Takes apart with a class's own functions: (children, aux), checked.
bool OpenCustom(Registration* registration, PyObject* object, bool with_keys, Parts* parts);

// "a list of 2 children"
std::string Describe(const NodeType& type);
std::string DescribeObject(PyObject* object);
// repr(object), or its type if repr raises.
std::string SafeRepr(PyObject* object);

}  // namespace pax_tree
