// Putting nodes together.
#include "core/parts.h"
#include "dict/build.h"
#include "dict/key_order.h"
#include "record/record.h"

namespace pax_tree {
namespace {

PyObject* Take(PyObject** slot) { return std::exchange(*slot, nullptr); }

PyObject* BuildTuple(PyObject** items, Py_ssize_t n) {
  PyObject* tuple = PyTuple_New(n);
  if (tuple == nullptr) return nullptr;
  for (Py_ssize_t i = 0; i < n; ++i) PyTuple_SET_ITEM(tuple, i, Take(&items[i]));
  return tuple;
}

PyObject* BuildList(PyObject** items, Py_ssize_t n) {
  PyObject* list = PyList_New(n);
  if (list == nullptr) return nullptr;
  for (Py_ssize_t i = 0; i < n; ++i) PyList_SET_ITEM(list, i, Take(&items[i]));
  return list;
}

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
  Ref tuple(BuildTuple(items, n));
  if (!tuple) return nullptr;
  PyObject* type = reinterpret_cast<PyObject*>(deque_type);
  return PyObject_CallFunctionObjArgs(type, tuple.get(), maxlen, nullptr);
}

PyObject* BuildCustom(Registration* registration, PyObject* aux, PyObject** items, Py_ssize_t n) {
  Ref children(BuildTuple(items, n));
  if (!children) return nullptr;
  PyObject* args[] = {nullptr, aux, children.get()};
  return PyObject_Vectorcall(registration->unflatten, args + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                             nullptr);
}

}  // namespace

PyObject* Build(Kind kind, Registration* registration, PyObject* data, PyObject** items,
                Py_ssize_t n) {
  switch (kind) {
    case Kind::kTuple:
      return BuildTuple(items, n);
    case Kind::kList:
      return BuildList(items, n);
    case Kind::kDict:
      return BuildDict(data, items);
    case Kind::kNamedTuple:
      return PyObject_Vectorcall(data, items, n, nullptr);
    case Kind::kOrderedDict:
      return BuildOrderedDict(AsOrder(data), items);
    case Kind::kDefaultDict:
      return BuildDefaultDict(data, items);
    case Kind::kDeque:
      return BuildDeque(data, items, n);
    case Kind::kRecord:
      return MakeRecord(AsSpec(data), BuildTuple(items, n));
    case Kind::kCustom:
      return BuildCustom(registration, data, items, n);
    case Kind::kNone:
    case Kind::kLeaf:
      break;
  }
  return Py_NewRef(Py_None);
}

}  // namespace pax_tree
