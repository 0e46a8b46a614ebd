// Static values by their classes: which may change in place, and what they hold.
#pragma once

#include <Python.h>

#include "support/ref.h"

namespace pax_tree {

// Whether a value of this type equals itself for as long as it lives.
bool IsPlain(PyObject* value);

// Whether a value may be written to in place, as far as its class tells: containers, arrays of
// NumPy and objects of classes written in Python, and tuples that have one; not records and arrays
// of JAX.
bool MayBeWritten(PyObject* value);

// Whether the class of an object has this attribute.
bool Has(PyObject* value, const char* name);

bool IsFrozenDataclass(PyTypeObject* type);
bool IsNumPyScalar(PyObject* value);

// Whether an object is of one of Python's own classes that are equal to what is not like them: a
// decimal of another precision, a time of another zone.
bool IsOfMoreThanItsValue(PyObject* value);

// Whether an object that is no plain container may change, and is equal to another one of its class
// that holds the same: classes derived from containers, dataclasses, namespaces.
bool IsByValue(PyObject* value);

// Whether an object that is no container says by its class that it may change: it cannot be hashed,
// or is a dataclass that is not frozen. An error of its __hash__ that is no TypeError stays set,
// with true.
bool IsMutableObject(PyObject* value);

// Whether an object that can be hashed is of a class written in Python, outside of Python's library
// and of those of arrays, that compares by identity: any attribute may be set. A class that says
// `__static_by_identity__ = True` is taken at its word, that what its objects hold is no matter.
bool IsOpen(PyObject* value);

// Whether a value is a bound method, or a functools.partial or of a class derived from it.
bool IsBound(PyObject* value);
// What such a value holds, a tuple.
PyObject* BoundValues(PyObject* value);

// The values of those fields of a dataclass that are compared, a tuple; None where there is none.
PyObject* FieldValues(PyObject* value);

// A list of (name, value) for the slots of an object and its attributes, without cached properties.
PyObject* AttributeItems(PyObject* value);

}  // namespace pax_tree
