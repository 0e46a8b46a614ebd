// Copying a structure with other leaves, in one pass.
#include "dm/rebuild.h"

#include "core/parts.h"
#include "core/plain.h"

namespace pax_tree::dm {
namespace {

// The children of one node in all structures: slots[i * count + structure].
using Columns = SlotArray<23>;

Kind KindOf(Shape shape) {
  if (shape == Shape::kDict) return Kind::kDict;
  return shape == Shape::kList ? Kind::kList : Kind::kTuple;
}

void CopyItems(const Children& children, PyObject** out, Py_ssize_t stride) {
  for (Py_ssize_t i = 0; i < children.size(); ++i) out[i * stride] = Py_NewRef(children[i]);
}

}  // namespace

// Takes the children of a further structure's node, in the order of the leaves. `order` is that of
// the first structure's dict, or null.
bool Rebuild::TakeOne(PyObject* object, PyObject* order, Py_ssize_t size, PyObject** out) {
  if (PyDict_CheckExact(object) && order != nullptr) {
    if (TakeValues(object, AsOrder(order), out, count_)) return true;
  } else if (PyTuple_CheckExact(object) && PyTuple_GET_SIZE(object) == size) {
    return TakeTuple(object, out, count_), true;
  } else if (PyList_CheckExact(object) && TakeList(object, size, out, count_)) {
    return true;
  }
  Form form;
  Children children;
  if (!FormOf(object, &form) || !OpenValues(object, form, &children)) return false;
  if (children.size() == size) return CopyItems(children, out, count_), true;
  PyErr_Format(PyExc_ValueError, "%s: an object of type %s changed while it was in use.", function_,
               Py_TYPE(object)->tp_name);
  return false;
}

bool Rebuild::TakeRest(PyObject** column, PyObject* order, Py_ssize_t size, PyObject** slots) {
  for (Py_ssize_t k = 1; k < count_; ++k) {
    if (!TakeOne(column[k], order, size, slots + k)) return false;
  }
  return true;
}

// Puts each new child in the place of what it was made of: slot i is used up by then.
bool Rebuild::ReplaceAll(Py_ssize_t size, PyObject** slots) {
  for (Py_ssize_t i = 0; i < size; ++i) {
    PyObject** child = slots + i * count_;
    PyObject* result = Column(child);
    if (result == nullptr) return false;
    for (Py_ssize_t k = 0; k < count_; ++k) Py_CLEAR(child[k]);
    slots[i] = result;
  }
  return true;
}

PyObject* Rebuild::Plain(PyObject** column, Kind kind) {
  Columns columns;
  PyObject* data = nullptr;
  Py_ssize_t size = PlainSize(column[0], kind);
  if (!columns.Allocate(size * count_)) return nullptr;
  bool taken = TakePlain(column[0], kind, size, columns.data(), count_, &data);
  Ref order(data);
  if (!taken || (order && !CheckSorted(order.get()))) return nullptr;
  if (!TakeRest(column, order.get(), size, columns.data())) return nullptr;
  if (!ReplaceAll(size, columns.data())) return nullptr;
  return Build(kind, nullptr, order.get(), columns.data(), size);
}

PyObject* Rebuild::Other(PyObject** column, Form form) {
  Columns columns;
  Children opened;
  if (!OpenValues(column[0], form, &opened)) return nullptr;
  if (!columns.Allocate(opened.size() * count_)) return nullptr;
  CopyItems(opened, columns.data(), count_);
  if (!TakeRest(column, nullptr, opened.size(), columns.data())) return nullptr;
  if (!ReplaceAll(opened.size(), columns.data())) return nullptr;
  return BuildLike(column[0], form, opened, columns.data());
}

PyObject* Rebuild::Node(PyObject** column, Form form) {
  DepthGuard guard(&depth_);
  if (!guard) return nullptr;
  bool plain =
      form.shape == Shape::kDict || form.shape == Shape::kList || form.shape == Shape::kTuple;
  return plain ? Plain(column, KindOf(form.shape)) : Other(column, form);
}

}  // namespace pax_tree::dm
