// Taking a node apart and putting it together.
#pragma once

#include "core/walk.h"
#include "support/ref.h"

namespace pax_tree {

// A node taken apart: what it is, and where its children are.
struct Parts {
  Kind kind = Kind::kLeaf;
  Registration* registration = nullptr;
  Py_ssize_t arity = 0;
  Ref data;    // as in Node
  Ref source;  // holds the children: a tuple or list, or the dict itself
  Ref keys;    // the path keys of a custom node, when the walk is with paths
};

// Takes `object` apart. False with an error set.
bool Open(Walk* walk, PyObject* object, Verdict verdict, Parts* parts);

// Takes `object` apart as the kind of node that `expected` is, and sees that it is alike.
// False with an error or a difference set.
bool OpenAlike(Walk* walk, PyObject* object, Kind kind, Registration* registration, PyObject* data,
               Py_ssize_t arity, Parts* parts);

// Writes new references to the children to out[0], out[stride], ...
bool Fill(const Parts& parts, PyObject** out, Py_ssize_t stride);
// The same for a node opened alike, children in the order of the other node's `data`.
bool FillAlike(Walk* walk, const Parts& parts, PyObject* data, PyObject** out, Py_ssize_t stride);

// Puts a node together; takes the children out of `items`.
PyObject* Build(Kind kind, Registration* registration, PyObject* data, PyObject** items,
                Py_ssize_t arity);

// The path key of a child, a new reference. `keys` is that of Parts.
PyObject* ChildKey(Kind kind, PyObject* data, PyObject* keys, Py_ssize_t child);
// The same while reporting a difference: asks the object's class for its keys; null if it has none.
PyObject* ChildKeyOf(PyObject* object, Kind kind, Registration* registration, PyObject* data,
                     Py_ssize_t child);

// The KeyOrder of a dict-like node's data.
PyObject* OrderObject(Kind kind, PyObject* data);

// Takes apart with a class's own functions: (children, aux), checked.
bool OpenCustom(Registration* registration, PyObject* object, bool with_keys, Parts* parts);

// "a list of 2 children"
std::string Describe(Kind kind, Registration* registration, PyObject* data, Py_ssize_t arity);
std::string DescribeObject(PyObject* object);
// repr(object), or its type if repr raises.
std::string SafeRepr(PyObject* object);

}  // namespace pax_tree
