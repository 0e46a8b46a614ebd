// The entries of key paths: their Python types, and the key under which a child stands in its node.
#include "core/keys.h"

#include <structmember.h>

#include <cstddef>

#include "core/parts.h"
#include "dict/key_order.h"
#include "record/record.h"
#include "support/arguments.h"
#include "support/ref.h"
#include "support/sequence.h"
#include "support/threads.h"

namespace pax_tree {
namespace {

// The name of a key's one field, by type.
const char* FieldName(PyTypeObject* type) {
  if (type == sequence_key_type) return "idx";
  return type == get_attr_key_type ? "name" : "key";
}

PyObject* ValueOf(PyObject* key) { return reinterpret_cast<PathKey*>(key)->value; }

// DictKey("a") or DictKey(key="a")
PyObject* New(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  const char* names[] = {FieldName(type), nullptr};
  PyObject* value;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O", const_cast<char**>(names), &value)) {
    return nullptr;
  }
  return MakeKey(type, value);
}

int Traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(ValueOf(self));
  return 0;
}

int Clear(PyObject* self) {
  Py_CLEAR(reinterpret_cast<PathKey*>(self)->value);
  return 0;
}

void Dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  Clear(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* Repr(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  Ref name(PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "__name__"));
  if (!name) return nullptr;
  return PyUnicode_FromFormat("%U(%s=%R)", name.get(), FieldName(type), ValueOf(self));
}

PyObject* Str(PyObject* self) {
  if (Py_IS_TYPE(self, get_attr_key_type)) return PyUnicode_FromFormat(".%S", ValueOf(self));
  const char* format = Py_IS_TYPE(self, flattened_index_key_type) ? "[<flat index %S>]" : "[%R]";
  return PyUnicode_FromFormat(format, ValueOf(self));
}

// As in a dict, an object equals itself: NaN too.
PyObject* Compare(PyObject* a, PyObject* b, int op) {
  if (Py_TYPE(a) != Py_TYPE(b) || (op != Py_EQ && op != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
  int answer = PyObject_RichCompareBool(ValueOf(a), ValueOf(b), op);
  return answer < 0 ? nullptr : PyBool_FromLong(answer);
}

Py_hash_t Hash(PyObject* self) {
  Py_hash_t hash = PyObject_Hash(ValueOf(self));
  if (hash == -1) return -1;
  hash ^= static_cast<Py_hash_t>(reinterpret_cast<Py_uhash_t>(Py_TYPE(self)) >> 4);
  return hash == -1 ? -2 : hash;
}

PyObject* Reduce(PyObject* self, PyObject*) {
  return Py_BuildValue("O(O)", Py_TYPE(self), ValueOf(self));
}

PyMethodDef methods[] = {
    {"__reduce__", Reduce, METH_NOARGS, "Pickle support."},
    {nullptr, nullptr, 0, nullptr},
};

PyTypeObject* MakeKeyType(PyObject* module, const char* name, const char* field, const char* doc) {
  PyMemberDef members[] = {
      {field, T_OBJECT, offsetof(PathKey, value), READONLY, nullptr},
      {nullptr, 0, 0, 0, nullptr},
  };
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>(doc)},
      {Py_tp_new, reinterpret_cast<void*>(New)},
      {Py_tp_traverse, reinterpret_cast<void*>(Traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(Clear)},
      {Py_tp_dealloc, reinterpret_cast<void*>(Dealloc)},
      {Py_tp_repr, reinterpret_cast<void*>(Repr)},
      {Py_tp_str, reinterpret_cast<void*>(Str)},
      {Py_tp_richcompare, reinterpret_cast<void*>(Compare)},
      {Py_tp_hash, reinterpret_cast<void*>(Hash)},
      {Py_tp_methods, methods},
      {Py_tp_members, members},
      {0, nullptr},
  };
  PyType_Spec spec = {name, sizeof(PathKey), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};
  PyTypeObject* type = AddType(module, &spec);
  Ref match(type != nullptr ? Py_BuildValue("(s)", field) : nullptr);
  auto* object = reinterpret_cast<PyObject*>(type);
  return match && PyObject_SetAttrString(object, "__match_args__", match.get()) == 0 ? type
                                                                                     : nullptr;
}

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

PyTypeObject* dict_key_type = nullptr;
PyTypeObject* sequence_key_type = nullptr;
PyTypeObject* get_attr_key_type = nullptr;
PyTypeObject* flattened_index_key_type = nullptr;

PyObject* MakeKey(PyTypeObject* type, PyObject* value) {
  PyObject* self = type->tp_alloc(type, 0);
  if (self != nullptr) reinterpret_cast<PathKey*>(self)->value = Py_NewRef(value);
  return self;
}

PyObject* MakeIndexKey(PyTypeObject* type, Py_ssize_t index) {
  Ref number(PyLong_FromSsize_t(index));
  return number ? MakeKey(type, number.get()) : nullptr;
}

PyObject* MakeKeys(PyTypeObject* type, PyObject* values) {
  return MakeTuple(PyTuple_GET_SIZE(values),
                   [=](Py_ssize_t i) { return MakeKey(type, PyTuple_GET_ITEM(values, i)); });
}

bool InitKeys(PyObject* module) {
  dict_key_type = MakeKeyType(module, "pax_tree.DictKey", "key",
                              "One step of a key path: the value under `key` of a dict.");
  sequence_key_type = MakeKeyType(module, "pax_tree.SequenceKey", "idx",
                                  "One step of a key path: item `idx` of a list or tuple.");
  get_attr_key_type = MakeKeyType(module, "pax_tree.GetAttrKey", "name",
                                  "One step of a key path: the attribute `name` of an object.");
  flattened_index_key_type =
      MakeKeyType(module, "pax_tree.FlattenedIndexKey", "key",
                  "One step of a key path: child `key` of an object whose class names no keys.");
  return dict_key_type != nullptr && sequence_key_type != nullptr && get_attr_key_type != nullptr &&
         flattened_index_key_type != nullptr;
}

PyObject* ChildKey(Kind kind, PyObject* data, PyObject* keys, Py_ssize_t child) {
  switch (kind) {
    case Kind::kDict:
    case Kind::kOrderedDict:
    case Kind::kDefaultDict: return ItemOf(PathKeysOf(AsOrder(OrderObject(kind, data))), child);
    case Kind::kNamedTuple: return FieldKey(data, child);
    case Kind::kRecord: return ItemOf(SpecKeys(AsSpec(data)), child);
    case Kind::kCustom:
      if (keys != nullptr) return ItemOf(keys, child);
      return MakeIndexKey(flattened_index_key_type, child);
    default: return SequenceKeyAt(child);
  }
}

PyObject* ChildKeyOf(PyObject* object, const NodeType& type, Py_ssize_t child) {
  Parts parts;
  bool custom = type.kind == Kind::kCustom;
  if (custom && !OpenCustom(type.registration, object, true, &parts)) return nullptr;
  if (custom && child >= parts.arity) return nullptr;
  return ChildKey(type.kind, type.data, parts.keys.get(), child);
}

}  // namespace pax_tree
