// Putting nodes together as dm-tree does.
#include "core/parts.h"
#include "core/registry.h"
#include "dm/dm.h"
#include "support/sequence.h"

namespace pax_tree::dm {
namespace {

PyObject* TypeOf(PyObject* object) { return reinterpret_cast<PyObject*>(Py_TYPE(object)); }

PyObject* DictOf(const Children& opened, PyObject** items) {
  Ref dict(PyDict_New());
  for (Py_ssize_t i = 0; dict && i < opened.size(); ++i) {
    Ref key(opened.Key(i)), item(Take(&items[i]));
    if (PyDict_SetItem(dict.get(), key.get(), item.get()) < 0) return nullptr;
  }
  return dict.release();
}

// (key, item) pairs in the order of `like`.
PyObject* PairsOf(PyObject* like, PyObject* items) {
  Ref keys(PySequence_List(like)), pairs(keys ? PyList_New(0) : nullptr);
  for (Py_ssize_t i = 0; pairs && i < PyList_GET_SIZE(keys.get()); ++i) {
    PyObject* key = PyList_GET_ITEM(keys.get(), i);
    Ref item(PyObject_GetItem(items, key));
    Ref pair(item ? PyTuple_Pack(2, key, item.get()) : nullptr);
    if (!pair || PyList_Append(pairs.get(), pair.get()) < 0) return nullptr;
  }
  return pairs.release();
}

PyObject* BuildDict(PyObject* like, PyObject* items) {
  Ref dict(PyDict_New());
  Ref pairs(dict ? PairsOf(like, items) : nullptr);
  if (!pairs || PyDict_MergeFromSeq2(dict.get(), pairs.get(), 1) < 0) return nullptr;
  return dict.release();
}

PyObject* BuildMapping(PyObject* like, const Children& opened, PyObject** items) {
  Ref by_key(DictOf(opened, items));
  if (!by_key) return nullptr;
  bool proxy = Py_TYPE(like) == &PyDictProxy_Type;
  Ref content(proxy ? BuildDict(like, by_key.get()) : PairsOf(like, by_key.get()));
  if (!content) return nullptr;
  if (!PyObject_TypeCheck(like, default_dict_type)) {
    return PyObject_CallOneArg(TypeOf(like), content.get());
  }
  Ref factory(PyObject_GetAttrString(like, "default_factory"));
  if (!factory) return nullptr;
  return PyObject_CallFunctionObjArgs(TypeOf(like), factory.get(), content.get(), nullptr);
}

PyObject* CallClass(PyObject* cls, Form form, const Children& opened, PyObject** items) {
  if (form.shape == Shape::kNamedTuple) {
    return PyObject_Vectorcall(cls, items, opened.size(), nullptr);
  }
  Ref keywords(DictOf(opened, items)), none(keywords ? PyTuple_New(0) : nullptr);
  return none ? PyObject_Call(cls, none.get(), keywords.get()) : nullptr;
}

PyObject* BuildObject(PyObject* like, Form form, const Children& opened, PyObject** items) {
  Ref wrapped(Unwrapped(like, form));
  if (!wrapped) return nullptr;
  PyObject* made = CallClass(TypeOf(wrapped.get()), form, opened, items);
  if (made != nullptr || !PyErr_ExceptionMatches(PyExc_Exception)) return made;
  if (PyErr_ExceptionMatches(PyExc_MemoryError)) return nullptr;
  std::string name = Py_TYPE(wrapped.get())->tp_name;
  RaiseFrom(PyExc_TypeError, "An object of " + name + " could not be made of its " +
                                 std::to_string(opened.size()) + " new fields; its class must " +
                                 "take the fields as arguments, as it was generated to do.");
  return nullptr;
}

// What the proxy stands for is built, and wrapped again.
PyObject* BuildProxy(PyObject* like, Form form, const Children& opened, PyObject** items) {
  Ref wrapped(Unwrapped(like, form));
  Form inner;
  if (!wrapped || !FormOf(wrapped.get(), &inner)) return nullptr;
  Ref made(BuildLike(wrapped.get(), inner, opened, items));
  return made ? PyObject_CallOneArg(TypeOf(like), made.get()) : nullptr;
}

PyObject* BuildSequence(PyObject* like, Py_ssize_t size, PyObject** items) {
  Ref list(ListOf(items, size));
  return list ? PyObject_CallOneArg(TypeOf(like), list.get()) : nullptr;
}

}  // namespace

PyObject* BuildLike(PyObject* like, Form form, const Children& opened, PyObject** items) {
  switch (form.shape) {
    case Shape::kTuple: return TupleOf(items, opened.size());
    case Shape::kList:
    case Shape::kView: return ListOf(items, opened.size());
    case Shape::kAttrs:
    case Shape::kNamedTuple: return BuildObject(like, form, opened, items);
    default: break;
  }
  if (form.proxy) return BuildProxy(like, form, opened, items);
  if (form.shape == Shape::kSequence) return BuildSequence(like, opened.size(), items);
  if (form.shape == Shape::kMapping) return BuildMapping(like, opened, items);
  Ref by_key(DictOf(opened, items));
  return by_key ? BuildDict(like, by_key.get()) : nullptr;
}

}  // namespace pax_tree::dm
