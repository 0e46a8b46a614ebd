// RecordSpec: the static structure of a record, interned so that equal structures are one object.
#pragma once

#include <Python.h>

#include <cstdint>

#include "support/ref.h"
#include "support/threads.h"

namespace pax_tree {

constexpr int kStatic = -1;

struct RecordSpec {
  // The specs reached from this one by setting an attribute, the last few of them. None is kept
  // alive, nor what it holds of the user's.
  struct Transition {
    PyObject* name;
    PyObject* value;  // only compared: the target's own, while that lives; null for a child
    int kind;
    PyObject* target;  // weak reference
  };
  static constexpr int kTransitions = 4;

  PyObject_HEAD PyTypeObject* cls;
  PyObject* names;     // tuple of interned str, in the order of the children
  PyObject* kinds;     // bytes, one per child
  PyObject* statics;   // dict, never changed
  PyObject* frozen;    // tuple of (name, frozen value), sorted by name; what is compared
  PyObject* mutables;  // tuple of the names of statics that may change in place; null without any
  PyObject* index;     // dict: name -> position; also those of specs that grew from this one
  PyObject* keys;      // tuple of GetAttrKey, made when first asked for
  PyObject* foreign;   // dict: another library's key type -> tuple of its keys; made when asked for
  PyObject* ancestor;  // the spec that this one was grown from, kept so that growing is a lookup
  PyObject* weakrefs;
  Py_uhash_t children_hash;  // of names and kinds; made of that of the spec before, where it grew
  Py_hash_t hash;
  bool interned;
  uint8_t next_transition;
  Mutex mutex;  // of the transitions, the ancestor and what is made when first asked for
  Transition transitions[kTransitions];
};

extern PyTypeObject* record_spec_type;

inline RecordSpec* AsSpec(PyObject* object) { return reinterpret_cast<RecordSpec*>(object); }
inline PyObject* AsObject(RecordSpec* spec) { return reinterpret_cast<PyObject*>(spec); }
inline Py_ssize_t NumChildren(const RecordSpec* spec) { return PyTuple_GET_SIZE(spec->names); }
inline int KindAt(const RecordSpec* spec, Py_ssize_t i) {
  return static_cast<unsigned char>(PyBytes_AS_STRING(spec->kinds)[i]);
}

// The position of a child, -1 if `name` is not one, -2 with an error set.
Py_ssize_t FindChild(RecordSpec* spec, PyObject* name);

// Interned specs (spec_intern.cc). All return new references.
RecordSpec* RootSpec(PyTypeObject* cls);
// With `before`, whose children and one more these are, the two have one index.
RecordSpec* InternSpec(PyTypeObject* cls, PyObject* names, PyObject* kinds, PyObject* statics,
                       PyObject* frozen, RecordSpec* before = nullptr);
void ForgetSpec(RecordSpec* spec);

// The spec after setting `name` (spec_change.cc): a child of `kind`, or static with `value`.
// A name that changes sides leaves the one and enters the other at its end.
RecordSpec* SpecWithChild(RecordSpec* spec, PyObject* name, int kind);
RecordSpec* SpecWithStatic(RecordSpec* spec, PyObject* name, PyObject* value);

// A value in the form in which statics are compared: by value and type (values.cc).
PyObject* Freeze(PyObject* value);

// Whether a value, or something inside it, can change in place and says so: lists, dicts, sets,
// objects that cannot be hashed, dataclasses that are not frozen.
bool MayChange(PyObject* value);

// Whether a change of the value, or of something inside it, can be seen through another reference,
// so that each record has a copy of its own.
bool CanChange(PyObject* value);

// Whether a value is known to be what it was when `snapshot` was made of it; quick, and false where
// only the frozen forms can tell.
bool IsUnchanged(PyObject* value, PyObject* snapshot);

// The frozen value of a static attribute, borrowed; null without an error if there is none.
PyObject* FrozenStatic(RecordSpec* spec, PyObject* name);

// A value in which lists, dicts and sets are copies (values.cc): specs are shared, so what
// they hold must not change when somebody appends to a list.
PyObject* Snapshot(PyObject* value);

// Tuples of path keys, one per child: borrowed, and a new reference to those of another library's
// `key_type`.
PyObject* SpecKeys(RecordSpec* spec);
PyObject* SpecForeignKeys(RecordSpec* spec, PyObject* key_type);

bool InitRecordSpec(PyObject* module);
// _make_spec(cls, names, kinds, statics): what a pickled spec is made from.
PyObject* MakeSpec(PyObject* module, PyObject* const* args, Py_ssize_t nargs);

}  // namespace pax_tree
