// Which Python type is which kind of node.
#pragma once

#include "core/node.h"

namespace pax_tree {

// The registration of exactly this type, or null.
Registration* FindRegistration(PyTypeObject* type);

// The registrations of exactly tuple, list and dict.
extern Registration* tuple_registration;
extern Registration* list_registration;
extern Registration* dict_registration;

// Looks at types that the table does not hold: named tuples, records and classes known only to
// another library. Returns false with an error set.
bool ClassifyUnknownType(PyTypeObject* type, Verdict* verdict);

// How a class was registered here last, though it may be unregistered by now; null if never.
Registration* LastRegistration(PyTypeObject* type);

// Enters the built-in containers and the commonest leaf types.
bool InitRegistry();

PyObject* RegisterNode(PyObject* module, PyObject* const* args, Py_ssize_t nargs);
PyObject* UnregisterNode(PyObject* module, PyObject* const* args, Py_ssize_t nargs);
PyObject* Forwarders(PyObject* module, PyObject* type);
PyObject* RegisterLeafType(PyObject* module, PyObject* type);
PyObject* SetForeignLookup(PyObject* module, PyObject* lookup);
PyObject* IsRegistered(PyObject* module, PyObject* type);

// The classes that C++ code builds, from `collections`.
extern PyTypeObject* ordered_dict_type;
extern PyTypeObject* default_dict_type;
extern PyTypeObject* deque_type;

}  // namespace pax_tree
