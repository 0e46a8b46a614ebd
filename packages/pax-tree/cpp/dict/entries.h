// The entries of a dict where the interpreter keeps them, for interpreters whose layout is known.
//
// Reading them in place costs a quarter of PyDict_Next, and a dict made by PyDict_Copy can be given
// its values without looking up a key. Everything here is optional: callers go by PyDict_Next and
// PyDict_SetItem when there are no entries.
#pragma once

#include <Python.h>

#include <cstdint>

namespace pax_tree {

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

bool InitDictEntries();

}  // namespace pax_tree
