// What differs between versions of Python, and all that is not of its documented API.
#pragma once

#include <Python.h>

#include <cstdint>

namespace pax_tree {

// The value under a key, a new reference; null without an error if there is none.
inline PyObject* LookUp(PyObject* dict, PyObject* key) {
#if PY_VERSION_HEX >= 0x030D0000
  PyObject* value;
  return PyDict_GetItemRef(dict, key, &value) < 0 ? nullptr : value;
#else
  return Py_XNewRef(PyDict_GetItemWithError(dict, key));
#endif
}

// What a weak reference refers to, a new reference; null without an error if it is gone.
inline PyObject* Referent(PyObject* weak) {
#if PY_VERSION_HEX >= 0x030D0000
  PyObject* object;
  return PyWeakref_GetRef(weak, &object) < 0 ? nullptr : object;
#else
  PyObject* object = PyWeakref_GetObject(weak);
  return object == Py_None ? nullptr : Py_NewRef(object);
#endif
}

// What a class or one of its bases has under a name, a new reference; null if they have nothing.
inline PyObject* LookUpInClass(PyTypeObject* type, PyObject* name) {
#ifdef Py_GIL_DISABLED
  return _PyType_LookupRef(type, name);
#else
  return Py_XNewRef(_PyType_Lookup(type, name));
#endif
}

// The entries of a dict where the interpreter keeps them, for interpreters whose layout is known.
// Reading them in place costs a quarter of PyDict_Next, and a dict made by PyDict_Copy can be given
// its values without looking up a key. Everything here is optional: callers go by PyDict_Next and
// PyDict_SetItem when there are no entries.
struct DictEntry {
  PyObject* key;
  PyObject* value;
};

#if !defined(PYPY_VERSION) && !defined(GRAALVM_PYTHON) && PY_VERSION_HEX >= 0x030B0000 && \
    PY_VERSION_HEX < 0x030F0000

// The head of PyDictKeysObject as CPython 3.11 to 3.14 have it.
struct DictKeys {
  Py_ssize_t refcount;
  uint8_t log2_size;
  uint8_t log2_index_bytes;
  uint8_t kind;
  uint8_t mutex;  // of the free-threaded interpreter
  uint32_t version;
  Py_ssize_t usable;
  Py_ssize_t num_entries;
  char indices[1];
};

constexpr uint8_t kOnlyStrKeys = 1;

// Whether the layout is what this header says; found out when the module is loaded.
extern bool dict_layout_known;
// Whether the garbage collector tracks a copy of a dict of numbers from the start.
extern bool dict_copies_are_tracked;

// The entries, in the order of insertion, of a dict of which all keys are str and from which
// nothing was deleted since it last grew; null for any other. They hold until the dict is changed.
inline DictEntry* DictEntries(PyObject* dict) {
  auto* object = reinterpret_cast<PyDictObject*>(dict);
  auto* keys = reinterpret_cast<DictKeys*>(object->ma_keys);
  bool plain = dict_layout_known && object->ma_values == nullptr && keys->kind == kOnlyStrKeys &&
               keys->num_entries == object->ma_used;
  if (!plain) return nullptr;
  return reinterpret_cast<DictEntry*>(keys->indices + (size_t{1} << keys->log2_index_bytes));
}

// How many items a dict of which the entries are known has room for.
inline Py_ssize_t DictRoom(PyObject* dict) {
  auto* keys = reinterpret_cast<DictKeys*>(reinterpret_cast<PyDictObject*>(dict)->ma_keys);
  return keys->usable + keys->num_entries;
}

#else

constexpr bool dict_layout_known = false, dict_copies_are_tracked = true;
inline DictEntry* DictEntries(PyObject*) { return nullptr; }
inline Py_ssize_t DictRoom(PyObject*) { return 0; }

#endif

bool InitDictLayout();

// The hash of a str that is a key, and has therefore been hashed.
inline size_t HashOfKey(PyObject* key) { return reinterpret_cast<PyASCIIObject*>(key)->hash; }

// Takes one level of the interpreter's recursion limit. False with RecursionError set.
inline bool EnterLevel(PyThreadState* thread) {
#if defined(_WIN32) || defined(PYPY_VERSION) || PY_VERSION_HEX >= 0x030E0000
  (void)thread;
#else
#if PY_VERSION_HEX >= 0x030C0000
  int* remaining = &thread->c_recursion_remaining;
#else
  int* remaining = &thread->recursion_remaining;
#endif
  if (*remaining > 0) {
    --*remaining;
    return true;
  }
#endif
  return Py_EnterRecursiveCall(" while walking a tree") == 0;
}

// Gives the level back.
inline void LeaveLevel(PyThreadState* thread) {
#if defined(_WIN32) || defined(PYPY_VERSION) || PY_VERSION_HEX >= 0x030E0000
  (void)thread;
  Py_LeaveRecursiveCall();
#elif PY_VERSION_HEX >= 0x030C0000
  ++thread->c_recursion_remaining;
#else
  ++thread->recursion_remaining;
#endif
}

}  // namespace pax_tree
