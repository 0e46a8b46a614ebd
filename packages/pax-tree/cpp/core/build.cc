// Putting nodes together.
#include "dict/build.h"

#include "core/parts.h"
#include "dict/key_order.h"
#include "record/record.h"
#include "support/sequence.h"

namespace pax_tree {
namespace {

// Sets the items in the order in which the first dict had them.
bool FillInto(PyObject* dict, const KeyOrder* order, PyObject** items) {
  Py_ssize_t n = PyTuple_GET_SIZE(order->inserted);
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* value = items[PositionOf(order, i)];
    if (PyDict_SetItem(dict, PyTuple_GET_ITEM(order->inserted, i), value) < 0) return false;
  }
  return true;
}

PyObject* FilledDict(PyObject* dict, PyObject* order, PyObject** items) {
  Ref owned(dict);
  return dict != nullptr && FillInto(dict, AsOrder(order), items) ? owned.release() : nullptr;
}

PyObject* BuildDict(PyObject* order, PyObject** items) {
  if (!IsWorthCopying(AsOrder(order))) return FilledDict(PyDict_New(), order, items);
  PyObject* dict = BlankDict(AsOrder(order));
  if (dict == nullptr) return nullptr;
  PlaceValues(dict, AsOrder(order), [items](Py_ssize_t i) { return Take(&items[i]); });
  return dict;
}

PyObject* BuildOrderedDict(const KeyOrder* order, PyObject** items) {
  Ref dict(PyObject_CallNoArgs(reinterpret_cast<PyObject*>(ordered_dict_type)));
  for (Py_ssize_t i = 0; dict && i < PyTuple_GET_SIZE(order->inserted); ++i) {
    PyObject* key = PyTuple_GET_ITEM(order->inserted, i);
    if (PyObject_SetItem(dict.get(), key, items[i]) < 0) return nullptr;
  }
  return dict.release();
}

PyObject* BuildDefaultDict(PyObject* data, PyObject** items) {
  PyObject* type = reinterpret_cast<PyObject*>(default_dict_type);
  PyObject* dict = PyObject_CallOneArg(type, PyTuple_GET_ITEM(data, 0));
  return FilledDict(dict, PyTuple_GET_ITEM(data, 1), items);
}

PyObject* BuildDeque(PyObject* maxlen, PyObject** items, Py_ssize_t n) {
  Ref tuple(TupleOf(items, n));
  if (!tuple) return nullptr;
  PyObject* type = reinterpret_cast<PyObject*>(deque_type);
  return PyObject_CallFunctionObjArgs(type, tuple.get(), maxlen, nullptr);
}

PyObject* BuildCustom(const NodeType& type, PyObject** items) {
  Ref children(TupleOf(items, type.arity));
  if (!children) return nullptr;
  PyObject* args[] = {nullptr, type.data, children.get()};
  size_t count = 2 | PY_VECTORCALL_ARGUMENTS_OFFSET;
  return PyObject_Vectorcall(type.registration->unflatten, args + 1, count, nullptr);
}

}  // namespace

PyObject* Build(const NodeType& type, PyObject** items) {
  switch (type.kind) {
    case Kind::kTuple: return TupleOf(items, type.arity);
    case Kind::kList: return ListOf(items, type.arity);
    case Kind::kDict: return BuildDict(type.data, items);
    case Kind::kNamedTuple: return PyObject_Vectorcall(type.data, items, type.arity, nullptr);
    case Kind::kOrderedDict: return BuildOrderedDict(AsOrder(type.data), items);
    case Kind::kDefaultDict: return BuildDefaultDict(type.data, items);
    case Kind::kDeque: return BuildDeque(type.data, items, type.arity);
    case Kind::kRecord: return MakeRecord(AsSpec(type.data), TupleOf(items, type.arity));
    case Kind::kCustom: return BuildCustom(type, items);
    case Kind::kNone:
    case Kind::kLeaf: break;
  }
  return Py_NewRef(Py_None);
}

}  // namespace pax_tree
