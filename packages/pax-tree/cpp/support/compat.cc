// Finding out whether dicts are laid out as compat.h says.
#include "support/compat.h"

#include "support/sequence.h"

namespace pax_tree {

#if !defined(PYPY_VERSION) && !defined(GRAALVM_PYTHON) && PY_VERSION_HEX >= 0x030B0000 && \
    PY_VERSION_HEX < 0x030F0000

bool dict_layout_known = false;
bool dict_copies_are_tracked = false;

namespace {

constexpr Py_ssize_t kNames = 12;

// A dict whose names and values are the items of two tuples.
PyObject* DictOf(PyObject* names, PyObject* values) {
  Ref dict(PyDict_New());
  for (Py_ssize_t i = 0; dict && i < PyTuple_GET_SIZE(names); ++i) {
    PyObject *name = PyTuple_GET_ITEM(names, i), *value = PyTuple_GET_ITEM(values, i);
    if (PyDict_SetItem(dict.get(), name, value) < 0) return nullptr;
  }
  return dict.release();
}

bool Holds(PyObject* dict, PyObject* names, PyObject* values) {
  const DictEntry* entries = DictEntries(dict);
  for (Py_ssize_t i = 0; entries != nullptr && i < PyTuple_GET_SIZE(names); ++i) {
    if (entries[i].key != PyTuple_GET_ITEM(names, i)) return false;
    if (entries[i].value != PyTuple_GET_ITEM(values, i)) return false;
  }
  return entries != nullptr;
}

// The fields that say where the entries are; read before anything is looked up through them.
bool HeadIsRight(PyObject* dict) {
  auto* object = reinterpret_cast<PyDictObject*>(dict);
  auto* keys = reinterpret_cast<DictKeys*>(object->ma_keys);
  return object->ma_values == nullptr && keys->log2_size == 5 && keys->log2_index_bytes == 5 &&
         keys->kind == kOnlyStrKeys && keys->num_entries == kNames &&
         keys->num_entries + keys->usable == 21;
}

// Whether other dicts are told apart: one with a key that is no str, and one with a gap.
bool RefusesOthers(PyObject* dict, PyObject* names) {
  if (PyDict_DelItem(dict, PyTuple_GET_ITEM(names, 1)) < 0 || DictEntries(dict) != nullptr) {
    return false;
  }
  Ref other(PyDict_New());
  return other && PyDict_SetItem(other.get(), Py_None, Py_None) == 0 &&
         DictEntries(other.get()) == nullptr;
}

}  // namespace

bool InitDictLayout() {
  Ref names(MakeTuple(kNames, [](Py_ssize_t i) { return PyUnicode_FromFormat("name %zd", i); }));
  Ref values(MakeTuple(kNames, [](Py_ssize_t i) { return PyLong_FromSsize_t(i); }));
  Ref dict(names && values ? DictOf(names.get(), values.get()) : nullptr);
  Ref copy(dict ? PyDict_Copy(dict.get()) : nullptr);
  if (!copy) return false;
  dict_layout_known = HeadIsRight(dict.get());
  dict_layout_known = dict_layout_known && Holds(dict.get(), names.get(), values.get()) &&
                      Holds(copy.get(), names.get(), values.get()) &&
                      RefusesOthers(dict.get(), names.get());
  dict_copies_are_tracked = PyObject_GC_IsTracked(copy.get());
  return !PyErr_Occurred();
}

#else

bool InitDictLayout() { return true; }

#endif

}  // namespace pax_tree
