// Sorting the keys of dicts, and remembering the result.
#include "pax_tree/key_order.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "pax_tree/keys.h"
#include "pax_tree/ref.h"

namespace pax_tree {

PyTypeObject* key_order_type = nullptr;

namespace {

void Dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  KeyOrder* order = AsOrder(self);
  Py_CLEAR(order->sorted);
  Py_CLEAR(order->inserted);
  Py_CLEAR(order->path_keys);
  PyMem_Free(order->position);
  type->tp_free(self);
  Py_DECREF(type);
}

// Steals both tuples; takes over `position`.
PyObject* NewOrder(PyObject* sorted, PyObject* inserted, uint32_t* position) {
  auto* order = AsOrder(key_order_type->tp_alloc(key_order_type, 0));
  if (order == nullptr) {
    Py_XDECREF(sorted);
    Py_XDECREF(inserted);
    PyMem_Free(position);
    return nullptr;
  }
  order->sorted = sorted;
  order->inserted = inserted;
  order->position = position;
  return reinterpret_cast<PyObject*>(order);
}

// Whether the pending error says that keys do not compare: the interpreter's own TypeError has no
// traceback, one that comes out of a user's __lt__ has.
bool KeysDoNotCompare() {
  if (!PyErr_ExceptionMatches(PyExc_TypeError)) return false;
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  bool ours = traceback == nullptr;
  PyErr_Restore(type, value, traceback);
  return ours;
}

// (key, index) lists would compare the index too; so the keys are sorted, and then looked up.
PyObject* SortedKeys(PyObject* inserted) {
  Ref list(PySequence_List(inserted));
  if (!list) return nullptr;
  if (PyList_Sort(list.get()) == 0) return PyList_AsTuple(list.get());
  if (!KeysDoNotCompare()) return nullptr;
  PyErr_Clear();
  return Py_NewRef(inserted);
}

bool SameItems(PyObject* a, PyObject* b) {
  Py_ssize_t n = PyTuple_GET_SIZE(a);
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (PyTuple_GET_ITEM(a, i) != PyTuple_GET_ITEM(b, i)) return false;
  }
  return true;
}

// position[j] of every inserted key among the sorted ones, by the identity of the keys.
uint32_t* Positions(PyObject* sorted, PyObject* inserted) {
  size_t n = PyTuple_GET_SIZE(sorted);
  std::vector<uint32_t> by_sorted(n), by_inserted(n);
  std::iota(by_sorted.begin(), by_sorted.end(), 0);
  std::iota(by_inserted.begin(), by_inserted.end(), 0);
  auto by_address = [](PyObject* keys) {
    return [keys](uint32_t a, uint32_t b) {
      return PyTuple_GET_ITEM(keys, a) < PyTuple_GET_ITEM(keys, b);
    };
  };
  std::sort(by_sorted.begin(), by_sorted.end(), by_address(sorted));
  std::sort(by_inserted.begin(), by_inserted.end(), by_address(inserted));
  auto* position = static_cast<uint32_t*>(PyMem_Malloc(n * sizeof(uint32_t)));
  if (position == nullptr) return PyErr_NoMemory(), nullptr;
  for (size_t i = 0; i < n; ++i) position[by_inserted[i]] = by_sorted[i];
  return position;
}

PyObject* OrderOf(PyObject* sorted, PyObject* inserted) {
  Ref first(sorted), second(inserted);
  if (!first || !second) return nullptr;
  if (SameItems(sorted, inserted)) return NewOrder(Py_NewRef(inserted), second.release(), nullptr);
  uint32_t* position = Positions(sorted, inserted);
  return position == nullptr ? nullptr : NewOrder(first.release(), second.release(), position);
}

// A run of key pointers is the key of the memory; each remembered order keeps its keys alive, so a
// pointer means the same key as long as the entry is there.
constexpr Py_ssize_t kMaxKeys = 64;
constexpr size_t kEntries = 1024;
PyObject* remembered[kEntries];

struct Run {
  PyObject* keys[kMaxKeys];
  Py_ssize_t size = 0;
  size_t hash = 0;
};

// The keys of a dict of few str keys; false if it is not one.
bool ReadRun(PyObject* dict, Run* run) {
  if (PyDict_GET_SIZE(dict) > kMaxKeys) return false;
  PyObject *key, *value;
  Py_ssize_t position = 0;
  size_t hash = 0;
  while (PyDict_Next(dict, &position, &key, &value)) {
    if (!PyUnicode_CheckExact(key) || run->size == kMaxKeys) return false;
    run->keys[run->size++] = key;
    hash = (hash ^ (reinterpret_cast<size_t>(key) >> 4)) * size_t{0x9E3779B97F4A7C15};
  }
  run->hash = (hash ^ (hash >> 32)) % kEntries;
  return true;
}

PyObject* Recall(const Run& run) {
  PyObject* entry = remembered[run.hash];
  if (entry == nullptr) return nullptr;
  PyObject* keys = AsOrder(entry)->inserted;
  if (PyTuple_GET_SIZE(keys) != run.size) return nullptr;
  for (Py_ssize_t i = 0; i < run.size; ++i) {
    if (PyTuple_GET_ITEM(keys, i) != run.keys[i]) return nullptr;
  }
  return Py_NewRef(entry);
}

PyObject* KeysTuple(PyObject* dict) {
  Ref keys(PyDict_Keys(dict));
  return keys ? PyList_AsTuple(keys.get()) : nullptr;
}

PyObject* SortDict(PyObject* dict) {
  PyObject* inserted = KeysTuple(dict);
  return inserted == nullptr ? nullptr : OrderOf(SortedKeys(inserted), inserted);
}

}  // namespace

PyObject* OrderOfDict(PyObject* dict) {
  Run run;
  if (!ReadRun(dict, &run)) return SortDict(dict);
  if (PyObject* known = Recall(run)) return known;
  PyObject* order = SortDict(dict);
  if (order == nullptr) return nullptr;
  Ref old(remembered[run.hash]);
  remembered[run.hash] = Py_NewRef(order);
  return order;
}

PyObject* OrderAsGiven(PyObject* keys) {
  return NewOrder(Py_NewRef(keys), Py_NewRef(keys), nullptr);
}

// Unpickled tuples may hold equal keys that are not the same object: the inserted ones are used.
PyObject* OrderOfTuples(PyObject* sorted, PyObject* inserted) {
  Ref canonical(PyDict_New());
  Ref keys(PyTuple_New(PyTuple_GET_SIZE(sorted)));
  for (Py_ssize_t i = 0; canonical && i < PyTuple_GET_SIZE(inserted); ++i) {
    PyObject* key = PyTuple_GET_ITEM(inserted, i);
    if (PyDict_SetItem(canonical.get(), key, key) < 0) return nullptr;
  }
  for (Py_ssize_t i = 0; keys && canonical && i < PyTuple_GET_SIZE(sorted); ++i) {
    PyObject* key = PyDict_GetItemWithError(canonical.get(), PyTuple_GET_ITEM(sorted, i));
    if (key == nullptr) {
      if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "The keys of a dict node differ.");
      return nullptr;
    }
    PyTuple_SET_ITEM(keys.get(), i, Py_NewRef(key));
  }
  return OrderOf(keys.release(), Py_NewRef(inserted));
}

PyObject* PathKeysOf(KeyOrder* order) {
  if (order->path_keys == nullptr) order->path_keys = MakeKeys(dict_key_type, order->sorted);
  return order->path_keys;
}

bool InitKeyOrder() {
  static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(Dealloc)}, {0, nullptr}};
  static PyType_Spec spec = {"pax_tree._C.KeyOrder", sizeof(KeyOrder), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  key_order_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  return key_order_type != nullptr;
}

}  // namespace pax_tree
