// Finding the order of a dict's keys without sorting, and taking its values on the way.
#include <atomic>
#include <cstring>

#include "core/plain.h"
#include "dict/key_order.h"
#include "support/compat.h"
#include "support/ref.h"

namespace pax_tree {
namespace {

// Whether two str are equal; runs no Python code.
inline bool SameText(PyObject* a, PyObject* b) {
  Py_ssize_t length = PyUnicode_GET_LENGTH(a);
  auto kind = PyUnicode_KIND(a);
  if (length != PyUnicode_GET_LENGTH(b) || kind != PyUnicode_KIND(b)) return false;
  return std::memcmp(PyUnicode_DATA(a), PyUnicode_DATA(b), static_cast<size_t>(length * kind)) == 0;
}

inline bool SameKey(PyObject* a, PyObject* b) {
  if (a == b) return true;
  return PyUnicode_CheckExact(a) && PyUnicode_CheckExact(b) && SameText(a, b);
}

// enum.EnumType, once the module is imported and a dict has keys that are no str.
std::atomic<PyTypeObject*> enum_type{nullptr};

bool LookForEnums() {
  Ref name(PyUnicode_FromString("enum")), module(name ? PyImport_GetModule(name.get()) : nullptr);
  Ref type(module ? PyObject_GetAttrString(module.get(), "EnumType") : nullptr);
  if (type) enum_type.store(reinterpret_cast<PyTypeObject*>(type.release()), kPublish);
  return !PyErr_Occurred();
}

// Whether orders of dicts with such a key are remembered: of str, and of members of an Enum, of
// which there is one object each.
inline bool IsRemembered(PyObject* key) {
  if (PyUnicode_CheckExact(key)) return true;
  PyTypeObject* of_class = Py_TYPE(reinterpret_cast<PyObject*>(Py_TYPE(key)));
  return of_class == enum_type.load(kObserve);
}

inline size_t HashOfRemembered(PyObject* key) {
  return PyUnicode_CheckExact(key) ? HashOfKey(key) : reinterpret_cast<size_t>(key) >> 4;
}

inline bool EntriesMatch(const DictEntry* entries, PyObject* keys) {
  Py_ssize_t n = PyTuple_GET_SIZE(keys);
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (!SameKey(PyTuple_GET_ITEM(keys, i), entries[i].key)) return false;
  }
  return true;
}

inline void CopyEntries(const DictEntry* entries, const KeyOrder* order, PyObject** out,
                        Py_ssize_t stride) {
  Py_ssize_t n = NumKeys(order);
  for (Py_ssize_t i = 0; i < n; ++i) {
    out[PositionOf(order, i) * stride] = Py_NewRef(entries[i].value);
  }
}

bool WalkMatches(PyObject* dict, PyObject* keys) {
  PyObject *key, *value;
  Py_ssize_t position = 0, i = 0, n = PyTuple_GET_SIZE(keys);
  while (PyDict_Next(dict, &position, &key, &value)) {
    if (i == n || !SameKey(PyTuple_GET_ITEM(keys, i++), key)) return false;
  }
  return i == n;
}

bool Matches(PyObject* dict, const KeyOrder* order) {
  if (PyDict_GET_SIZE(dict) != NumKeys(order)) return false;
  const DictEntry* entries = DictEntries(dict);
  if (entries != nullptr) return EntriesMatch(entries, order->inserted);
  return WalkMatches(dict, order->inserted);
}

void CopyValues(PyObject* dict, const KeyOrder* order, PyObject** out, Py_ssize_t stride) {
  const DictEntry* entries = DictEntries(dict);
  if (entries != nullptr) return CopyEntries(entries, order, out, stride);
  PyObject *key, *value;
  Py_ssize_t position = 0, i = 0;
  while (PyDict_Next(dict, &position, &key, &value)) {
    out[PositionOf(order, i++) * stride] = Py_NewRef(value);
  }
}

// An order is remembered at two places: by the first key, where a walk over many like dicts finds
// it at once, and by all keys. Few large ones are kept, for they keep their keys alive.
constexpr Py_ssize_t kFewKeys = 64, kMostKeys = 4096;
constexpr size_t kSmallPlaces = 1024, kLargePlaces = 16;

struct Place {
  PyObject* order = nullptr;
  Mutex mutex;

  // The order here if it is the dict's, a new reference.
  PyObject* Recall(PyObject* dict) {
    Lock lock(&mutex);
    if (order == nullptr || !Matches(dict, AsOrder(order))) return nullptr;
    return Py_NewRef(order);
  }
  void Remember(PyObject* newer) {
    Py_INCREF(newer);
    PyObject* older;
    {
      Lock lock(&mutex);
      older = std::exchange(order, newer);
    }
    Py_XDECREF(older);
  }
};

Place small_places[kSmallPlaces];
Place large_places[kLargePlaces];

constexpr auto kScatter = static_cast<size_t>(0x9E3779B97F4A7C15);

inline Place* PlaceAt(size_t hash, Py_ssize_t size) {
  hash ^= hash >> (4 * sizeof(hash));
  if (size <= kFewKeys) return &small_places[hash % kSmallPlaces];
  return &large_places[hash % kLargePlaces];
}

// Where a dict of `size` keys belongs by its first key; null if that is not remembered.
inline Place* PlaceByFirst(PyObject* key, Py_ssize_t size) {
  if (size > kMostKeys || !IsRemembered(key)) return nullptr;
  return PlaceAt((HashOfRemembered(key) + static_cast<size_t>(size)) * kScatter, size);
}

Place* QuickPlace(PyObject* dict) {
  Py_ssize_t position = 0;
  PyObject *key, *value;
  if (!PyDict_Next(dict, &position, &key, &value)) return &small_places[0];
  return PlaceByFirst(key, PyDict_GET_SIZE(dict));
}

// Where it belongs by all keys; null if one is not remembered.
Place* ExactPlace(PyObject* dict) {
  PyObject *key, *value;
  Py_ssize_t position = 0;
  size_t hash = 0;
  while (PyDict_Next(dict, &position, &key, &value)) {
    if (!IsRemembered(key)) return nullptr;
    hash = (hash ^ HashOfRemembered(key)) * kScatter;
  }
  return PlaceAt(hash, PyDict_GET_SIZE(dict));
}

PyObject* SortDict(PyObject* dict) {
  Ref keys(PyDict_Keys(dict));
  Ref inserted(keys ? PyList_AsTuple(keys.get()) : nullptr);
  return inserted ? SortedOrder(inserted.get()) : nullptr;
}

// The order of a dict that is not at `quick`.
PyObject* FindOrder(PyObject* dict, Place* quick) {
  bool look = quick == nullptr && enum_type.load(kObserve) == nullptr;
  if (look && !LookForEnums()) return nullptr;
  Place* exact = quick == nullptr ? nullptr : ExactPlace(dict);
  if (exact == nullptr) return SortDict(dict);
  PyObject* order = exact->Recall(dict);
  if (order == nullptr) {
    order = SortDict(dict);
    if (order == nullptr) return nullptr;
    exact->Remember(order);
  }
  quick->Remember(order);
  return order;
}

// The order of a dict that was found without running code, so that it still fits; else null.
PyObject* RecallOrder(PyObject* dict, Place* quick) {
  return quick == nullptr ? nullptr : quick->Recall(dict);
}

// The commonest case at once: a dict with entries whose order is where its first key says.
PyObject* TakeKnown(const DictEntry* entries, Py_ssize_t size, PyObject** out, Py_ssize_t stride) {
  Place* place = PlaceByFirst(entries[0].key, size);
  if (place == nullptr) return nullptr;
  KeyOrder* order = AsOrder(place->order);
  if (order == nullptr || NumKeys(order) != size || !EntriesMatch(entries, order->inserted)) {
    return nullptr;
  }
  CopyEntries(entries, order, out, stride);
  return Py_NewRef(place->order);
}

// Finds the order of a dict first, and takes the values then.
PyObject* FindAndTake(PyObject* dict, Py_ssize_t size, PyObject** out, Py_ssize_t stride) {
  Place* quick = QuickPlace(dict);
  Ref order(RecallOrder(dict, quick));
  if (!order) {
    order = Ref(FindOrder(dict, quick));
    if (!order) return nullptr;
    bool same = NumKeys(AsOrder(order.get())) == size && Matches(dict, AsOrder(order.get()));
    if (!same) return RaiseChanged(dict);  // by what ran to compare the keys
  }
  CopyValues(dict, AsOrder(order.get()), out, stride);
  return order.release();
}

}  // namespace

PyObject* OrderOfDict(PyObject* dict) {
  CriticalSection section(dict);
  Place* quick = QuickPlace(dict);
  PyObject* known = RecallOrder(dict, quick);
  return known != nullptr ? known : FindOrder(dict, quick);
}

bool TakeValues(PyObject* dict, const KeyOrder* order, PyObject** out, Py_ssize_t stride) {
  CriticalSection section(dict);
  if (!Matches(dict, order)) return false;
  CopyValues(dict, order, out, stride);
  return true;
}

PyObject* TakeDict(PyObject* dict, Py_ssize_t size, PyObject** out, Py_ssize_t stride) {
  CriticalSection section(dict);
  if (PyDict_GET_SIZE(dict) != size) return RaiseChanged(dict);
  // Entries do not outlast waiting for a place's lock.
  const DictEntry* entries = size > 0 && !kFreeThreaded ? DictEntries(dict) : nullptr;
  PyObject* order = entries == nullptr ? nullptr : TakeKnown(entries, size, out, stride);
  return order != nullptr ? order : FindAndTake(dict, size, out, stride);
}

}  // namespace pax_tree
