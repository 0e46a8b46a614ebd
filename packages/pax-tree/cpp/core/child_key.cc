// The path key under which a child stands in its node.
#include "dict/key_order.h"
#include "core/keys.h"
#include "core/parts.h"
#include "record/record.h"
#include "support/threads.h"

namespace pax_tree {
namespace {

PyObject* ItemOf(PyObject* keys, Py_ssize_t child) {
  return keys == nullptr ? nullptr : Py_NewRef(PyTuple_GET_ITEM(keys, child));
}

PyObject* FieldKey(PyObject* type, Py_ssize_t child) {
  Ref fields(PyObject_GetAttrString(type, "_fields"));
  Ref name(fields ? PySequence_GetItem(fields.get(), child) : nullptr);
  return name ? MakeKey(get_attr_key_type, name.get()) : nullptr;
}

// The keys of short sequences are made once.
PyObject* SequenceKeyAt(Py_ssize_t child) {
  constexpr Py_ssize_t kKept = 256;
  static std::atomic<PyObject*> kept[kKept];
  if (child >= kKept) return MakeIndexKey(sequence_key_type, child);
  PyObject* key = kept[child].load(kObserve);
  if (key != nullptr) return Py_NewRef(key);
  key = MakeIndexKey(sequence_key_type, child);
  PyObject* none = nullptr;
  bool first = key != nullptr && kept[child].compare_exchange_strong(none, key);
  return first ? Py_NewRef(key) : key;
}

}  // namespace

PyObject* ChildKey(Kind kind, PyObject* data, PyObject* keys, Py_ssize_t child) {
  switch (kind) {
    case Kind::kDict:
    case Kind::kOrderedDict:
    case Kind::kDefaultDict:
      return ItemOf(PathKeysOf(AsOrder(OrderObject(kind, data))), child);
    case Kind::kNamedTuple:
      return FieldKey(data, child);
    case Kind::kRecord:
      return ItemOf(SpecKeys(AsSpec(data)), child);
    case Kind::kCustom:
      if (keys != nullptr) return ItemOf(keys, child);
      return MakeIndexKey(flattened_index_key_type, child);
    default:
      return SequenceKeyAt(child);
  }
}

PyObject* ChildKeyOf(PyObject* object, Kind kind, Registration* registration, PyObject* data,
                     Py_ssize_t child) {
  Parts parts;
  if (kind == Kind::kCustom && !OpenCustom(registration, object, true, &parts)) return nullptr;
  if (kind == Kind::kCustom && child >= parts.arity) return nullptr;
  return ChildKey(kind, data, parts.keys.get(), child);
}

}  // namespace pax_tree
