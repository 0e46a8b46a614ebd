// Sorting the keys of dicts, and remembering the result.
#include "dict/key_order.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "core/keys.h"
#include "support/compat.h"
#include "support/errors.h"
#include "support/ref.h"
#include "support/sequence.h"

namespace pax_tree {

PyTypeObject* key_order_type = nullptr;

namespace {

// Keys other than str may refer to what holds the order.
int Traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(AsOrder(self)->sorted);
  Py_VISIT(AsOrder(self)->inserted);
  Py_VISIT(AsOrder(self)->path_keys);
  return 0;
}

void Dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  KeyOrder* order = AsOrder(self);
  PyObject_GC_UnTrack(self);
  Py_CLEAR(order->sorted);
  Py_CLEAR(order->inserted);
  Py_CLEAR(order->path_keys);
  Py_CLEAR(order->blank);
  PyMem_Free(order->position);
  type->tp_free(self);
  Py_DECREF(type);
}

bool OnlyStr(PyObject* keys) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(keys); ++i) {
    if (!PyUnicode_CheckExact(PyTuple_GET_ITEM(keys, i))) return false;
  }
  return true;
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
  order->only_str = OnlyStr(inserted);
  if (order->only_str) PyObject_GC_UnTrack(order);
  return reinterpret_cast<PyObject*>(order);
}

// Whether the pending error says that keys do not compare: the interpreter's own TypeError has no
// traceback, one that comes out of a user's __lt__ has.
bool KeysDoNotCompare() {
  if (!PyErr_ExceptionMatches(PyExc_TypeError)) return false;
  HeldError error;
  bool ours = !error.HasTraceback();
  error.Restore();
  return ours;
}

// The keys as a sorted tuple; null without an error when they do not compare.
PyObject* Sorted(PyObject* keys) {
  Ref list(PySequence_List(keys));
  if (!list) return nullptr;
  if (PyList_Sort(list.get()) == 0) return PyList_AsTuple(list.get());
  if (KeysDoNotCompare()) PyErr_Clear();
  return nullptr;
}

// Whether all keys are of one class whose objects always compare.
bool AlwaysCompare(PyObject* keys) {
  if (PyTuple_GET_SIZE(keys) < 2) return true;
  PyTypeObject* type = Py_TYPE(PyTuple_GET_ITEM(keys, 0));
  if (type != &PyUnicode_Type && type != &PyLong_Type && type != &PyBytes_Type) return false;
  for (Py_ssize_t i = 1; i < PyTuple_GET_SIZE(keys); ++i) {
    if (Py_TYPE(PyTuple_GET_ITEM(keys, i)) != type) return false;
  }
  return true;
}

// Whether one key is less than another. Also false with an error set.
bool IsLess(PyObject* key, PyObject* other) {
  int less = PyObject_RichCompareBool(key, other, Py_LT);
  if (less < 0 && KeysDoNotCompare()) PyErr_Clear();
  return less == 1;
}

// Whether each key is less than the next, and the next not less than it. Otherwise sorting went by
// the order in which they were given as well: some are neither less nor greater than others, such
// as sets and NaN, or both, where __lt__ says "less or equal".
bool IsChain(PyObject* sorted) {
  if (AlwaysCompare(sorted)) return true;
  for (Py_ssize_t i = 1; i < PyTuple_GET_SIZE(sorted); ++i) {
    PyObject *key = PyTuple_GET_ITEM(sorted, i - 1), *next = PyTuple_GET_ITEM(sorted, i);
    if (!IsLess(key, next) || IsLess(next, key) || PyErr_Occurred()) return false;
  }
  return true;
}

// The keys in an order that depends on them alone: by their contents, and then sorted as far as
// they compare.
PyObject* SortedByContent(PyObject* keys) {
  Ref in_order(Import("pax_tree._key_order", "in_order"));
  Ref ordered(in_order ? PyObject_CallOneArg(in_order.get(), keys) : nullptr);
  if (!ordered) return nullptr;
  PyObject* sorted = Sorted(ordered.get());
  return sorted != nullptr || PyErr_Occurred() ? sorted : ordered.release();
}

// (key, index) lists would compare the index too; so the keys are sorted, and then looked up.
PyObject* SortedKeys(PyObject* inserted, bool* compare) {
  Ref sorted(Sorted(inserted));
  *compare = sorted && IsChain(sorted.get());
  if (*compare) return sorted.release();
  return PyErr_Occurred() ? nullptr : SortedByContent(inserted);
}

bool SameItems(PyObject* a, PyObject* b) {
  Py_ssize_t n = PyTuple_GET_SIZE(a);
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (PyTuple_GET_ITEM(a, i) != PyTuple_GET_ITEM(b, i)) return false;
  }
  return true;
}

// The positions of a KeyOrder, by the identity of the keys.
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
  auto* position = static_cast<uint32_t*>(PyMem_Malloc(2 * n * sizeof(uint32_t)));
  if (position == nullptr) return RaiseNoMemory();
  for (size_t i = 0; i < n; ++i) {
    position[by_inserted[i]] = by_sorted[i];
    position[n + by_sorted[i]] = by_inserted[i];
  }
  return position;
}

PyObject* OrderOf(PyObject* sorted, PyObject* inserted) {
  Ref first(sorted), second(inserted);
  if (!first || !second) return nullptr;
  if (SameItems(sorted, inserted)) return NewOrder(Py_NewRef(inserted), second.release(), nullptr);
  uint32_t* position = Positions(sorted, inserted);
  return position == nullptr ? nullptr : NewOrder(first.release(), second.release(), position);
}

// The values are different objects that live as long as the interpreter: a copy counts a reference
// to each, and counting up the same one over and over is slow.
PyObject* MakeBlank(PyObject* keys) {
  Ref dict(PyDict_New());
  for (Py_ssize_t i = 0; dict && i < PyTuple_GET_SIZE(keys); ++i) {
    Ref number(PyLong_FromSsize_t(i % 128));
    PyObject* key = PyTuple_GET_ITEM(keys, i);
    if (!number || PyDict_SetItem(dict.get(), key, number.get()) < 0) return nullptr;
  }
  return dict.release();
}

}  // namespace

PyObject* SortedOrder(PyObject* keys) {
  bool compare = true;
  PyObject* sorted = SortedKeys(keys, &compare);
  PyObject* order = OrderOf(sorted, Py_NewRef(keys));
  if (order != nullptr) AsOrder(order)->by_content = !compare;
  return order;
}

PyObject* OrderAsGiven(PyObject* keys) {
  return NewOrder(Py_NewRef(keys), Py_NewRef(keys), nullptr);
}

// Unpickled tuples may hold equal keys that are not the same object: the inserted ones are used.
PyObject* OrderOfTuples(PyObject* sorted, PyObject* inserted) {
  Ref canonical(PyDict_New());
  for (Py_ssize_t i = 0; canonical && i < PyTuple_GET_SIZE(inserted); ++i) {
    PyObject* key = PyTuple_GET_ITEM(inserted, i);
    if (PyDict_SetItem(canonical.get(), key, key) < 0) return nullptr;
  }
  if (!canonical) return nullptr;
  PyObject* keys = MakeTuple(PyTuple_GET_SIZE(sorted), [&](Py_ssize_t i) -> PyObject* {
    PyObject* key = LookUp(canonical.get(), PyTuple_GET_ITEM(sorted, i));
    if (key != nullptr || PyErr_Occurred()) return key;
    return Raise(PyExc_ValueError, "The keys of a dict node differ.");
  });
  return OrderOf(keys, Py_NewRef(inserted));
}

PyObject* PathKeysOf(KeyOrder* order) {
  Lock lock(&order->mutex);
  if (order->path_keys == nullptr) order->path_keys = MakeKeys(dict_key_type, order->sorted);
  return order->path_keys;
}

PyObject* BlankDict(KeyOrder* order) {
  {
    Lock lock(&order->mutex);
    if (order->blank == nullptr) order->blank = MakeBlank(order->inserted);
  }
  return order->blank == nullptr ? nullptr : PyDict_Copy(order->blank);
}

bool InitKeyOrder() {
  static PyType_Slot slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(Traverse)},
                                {Py_tp_dealloc, reinterpret_cast<void*>(Dealloc)},
                                {0, nullptr}};
  static PyType_Spec spec = {
      "pax_tree._C.KeyOrder", sizeof(KeyOrder), 0,
      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  key_order_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  return key_order_type != nullptr;
}

}  // namespace pax_tree
