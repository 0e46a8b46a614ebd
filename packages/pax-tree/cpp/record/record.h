// Record: an attribute object made of an interned spec and a tuple of children.
#pragma once

#include <cstdint>

#include "record/spec.h"
#include "support/arguments.h"
#include "support/ref.h"

namespace pax_tree {

struct Record {
  PyObject_HEAD RecordSpec* spec;
  PyObject* children;  // a tuple, shared with whoever flattened the record
  PyObject* scope;     // weak reference to the token of the trace that made it; null at top level
  PyObject* dict;      // attributes by name; null until the first read after unflatten
  PyObject* weakrefs;
  // Since JAX rebuilt it and nobody took it apart: the name that was set last, or a dict of the
  // forms of what was read and may be changed in place, by name.
  PyObject* unseen;
  bool rebuilt;  // whether JAX made it for a trace or a call, of what it had taken apart outside
  uint32_t captured;  // the era in which a trace that is kept has read it, as a constant
};

extern PyTypeObject* record_type;

inline bool IsRecordType(PyTypeObject* type) { return PyType_IsSubtype(type, record_type); }

// A record of `spec` over `children`, without running __init__. Steals `children`, also on failure.
PyObject* MakeRecord(RecordSpec* spec, PyObject* children);

// New references to the spec and the children as they belong together. False with an error set.
bool TakeRecord(Record* self, Ref* spec, Ref* children);
// The same for who reads them: after a look at the static values that may have changed in place.
class Reader;
bool TakeCurrent(Record* self, Reader* reader, Ref* spec, Ref* children);

// Fills the attribute dict if it is not there yet.
bool FillDict(Record* self);

// Attribute reads and writes (attributes.cc).
PyObject* RecordGetAttr(PyObject* self, PyObject* name);
// The attributes by name as they may be read in the present scope; null with an error set.
PyObject* DictInScope(Record* self);
int RecordSetAttr(PyObject* self, PyObject* name, PyObject* value);
// Sets the static attributes anew that have changed in place; false with an error set.
bool RefreshStatics(Record* self, RecordSpec* spec);
// Writes with an explicit kind; kStatic makes the attribute static.
bool SetAttribute(Record* self, PyObject* name, PyObject* value, int kind);

// Who may write (scope.cc): the token of the present trace as a weak reference, or null at top
// level.
bool CurrentScope(Ref* scope);
bool IsInScope(Record* self, bool* same);
bool CheckScope(Record* self, PyObject* name);
PyObject* SetScopeHook(const Call& call);

// The module's functions on records (functions.cc).
extern PyMethodDef record_methods[];
PyObject* RecordFlatten(PyObject* module, PyObject* object);
PyObject* RecordFlattenWithKeys(PyObject* key_type, PyObject* object);
PyObject* RecordFlattener(PyObject* module, PyObject* key_type);
PyObject* RecordUnflatten(PyObject* module, PyObject* const* args, Py_ssize_t nargs);
PyObject* RecordSpecOf(PyObject* module, PyObject* object);
PyObject* RecordSet(PyObject* module, PyObject* const* args, Py_ssize_t nargs);
PyObject* RecordWithSpec(PyObject* module, PyObject* const* args, Py_ssize_t nargs);
PyObject* CheckRecordScope(PyObject* module, PyObject* const* args, Py_ssize_t nargs);
// _tell_captured(record, name): something was changed in what the record holds.
PyObject* TellCapturedOf(PyObject* module, PyObject* const* args, Py_ssize_t nargs);

// What JAX rebuilds records by (rebuilt.cc), and how its functions are known that call others.
PyObject* RecordRebuild(PyObject* module, PyObject* const* args, Py_ssize_t nargs);
PyObject* SetRebuilders(PyObject* module, PyObject* const* args, Py_ssize_t nargs);
PyObject* LeaveUnseen(PyObject* module, PyObject* kind);
// Somebody takes the record apart, and so has what was changed in it.
void MarkSeen(Record* self);
// Notes the form of an attribute that is read and may be changed in place; false with an error set.
bool Watch(Record* self, PyObject* name, PyObject* value);
// Tells the class of a record that goes what was changed in it and nobody has seen since.
void TellUnseen(Record* self, PyTypeObject* type);

// Methods of Record (record.cc).
PyObject* RecordCopy(PyObject* self, PyObject* unused);
PyObject* RecordDeepCopy(PyObject* self, PyObject* memo);
PyObject* RecordReduce(PyObject* self, PyObject* protocol);

bool InitRecord(PyObject* module);

}  // namespace pax_tree
