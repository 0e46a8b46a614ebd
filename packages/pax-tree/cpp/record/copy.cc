// Copying and pickling records.
#include "record/record.h"
#include "support/threads.h"

namespace pax_tree {
namespace {

// A tuple of `count` times None.
PyObject* Nones(Py_ssize_t count) {
  PyObject* nones = PyTuple_New(count);
  for (Py_ssize_t i = 0; nones != nullptr && i < count; ++i) {
    PyTuple_SET_ITEM(nones, i, Py_NewRef(Py_None));
  }
  return nones;
}

}  // namespace

PyObject* RecordCopy(PyObject* self, PyObject*) {
  Ref spec, children;
  if (!TakeRecord(reinterpret_cast<Record*>(self), &spec, &children)) return nullptr;
  return MakeRecord(AsSpec(spec.get()), children.release());
}

// The copy enters the memo before its children are copied, so that a child may refer to it.
PyObject* RecordDeepCopy(PyObject* self, PyObject* memo) {
  Ref spec, children;
  if (!TakeRecord(reinterpret_cast<Record*>(self), &spec, &children)) return nullptr;
  Ref copy(MakeRecord(AsSpec(spec.get()), Nones(PyTuple_GET_SIZE(children.get()))));
  Ref id(PyLong_FromVoidPtr(self));
  if (!copy || !id || PyObject_SetItem(memo, id.get(), copy.get()) < 0) return nullptr;
  Ref module(PyImport_ImportModule("copy"));
  Ref copied(module ? PyObject_CallMethod(module.get(), "deepcopy", "OO", children.get(), memo)
                    : nullptr);
  if (!copied) return nullptr;
  auto* result = reinterpret_cast<Record*>(copy.get());
  CriticalSection section(copy.get());
  Ref nones(result->children);
  result->children = copied.release();
  Py_CLEAR(result->dict);
  return copy.release();
}

PyObject* RecordReduce(PyObject* self, PyObject*) {
  Ref spec, children;
  if (!TakeRecord(reinterpret_cast<Record*>(self), &spec, &children)) return nullptr;
  Ref module(PyImport_ImportModule("pax_tree._C"));
  Ref make(module ? PyObject_GetAttrString(module.get(), "record_unflatten") : nullptr);
  if (!make) return nullptr;
  return Py_BuildValue("O(OO)", make.get(), spec.get(), children.get());
}

}  // namespace pax_tree
